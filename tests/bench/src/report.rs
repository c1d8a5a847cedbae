//! What came out, for people and for programs: a table, JSON, charts and RESULTS.md.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::result::Line;
use crate::workloads::instructions::{COMPARED, DEARER};
use crate::workloads::{Bench, Workload};
use crate::{Outcome, bars, chart, machine};

/// From what share of the processors used by others a line is marked: there noise may be larger than a difference.
pub(crate) const BUSY: f64 = 0.05;

/// The results of a run. Those of earlier runs stay for the workloads that are not measured again.
pub(crate) struct Report {
    directory: PathBuf,
    /// The congestion control that is in force.
    congestion: String,
    results: Value,
    /// What of this run takes more instructions than its baseline.
    dearer: Vec<String>,
}

impl Report {
    pub(crate) fn new(directory: &Path, bench: &Bench) -> Outcome<Self> {
        fs::create_dir_all(directory.join("charts"))?;
        let earlier = fs::read_to_string(directory.join("results.json")).ok();
        let mut results = earlier.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_else(|| json!({}));
        let missing = bench.programs.missing.iter().map(|(peer, why)| json!({ "peer": peer.name(), "why": why }));
        let other = bench.congestion.missing.iter();
        let other = other.map(|(name, why)| json!({ "peer": format!("TCP {name}"), "why": why }));
        results["missing"] = missing.chain(other).collect();
        results["machine"] = machine::described().into();
        let congestion = bench.congestion.measured[0].clone();
        Ok(Self { directory: directory.to_owned(), congestion, results, dearer: Vec::new() })
    }

    /// Takes the lines of a workload, writes everything and says what the table is.
    pub(crate) fn add(&mut self, workload: &Workload, lines: Vec<Line>) -> Outcome<String> {
        let rounds = lines.iter().map(|line| line.samples.len()).max().unwrap_or_default();
        let is_dearer = |line: &&Line| line.spread(COMPARED).is_some_and(|compared| compared.median > DEARER);
        self.dearer.extend(lines.iter().filter(is_dearer).map(|line| line.variant.clone()));
        let stamp = date()?;
        let commit = commit();
        self.results["workloads"][workload.name] = json!({
            "title": workload.title,
            "measured": format!("{stamp}, commit {commit}, {rounds} rounds, TCP {}", self.congestion),
            "lines": lines.iter().map(as_json).collect::<Vec<_>>(),
            "notes": workload.notes,
        });
        fs::write(
            self.directory.join("charts").join(format!("{}.svg", workload.name)),
            chart::bars(workload.title, &lines),
        )?;
        fs::write(self.directory.join("results.json"), format!("{:#}\n", self.results))?;
        self.write_page()?;
        Ok(table(&self.results["workloads"][workload.name]))
    }

    pub(crate) fn finish(&self) -> Outcome<()> {
        eprintln!("written: {}", self.directory.join("RESULTS.md").display());
        if self.dearer.is_empty() {
            return Ok(());
        }
        Err(format!("takes more instructions than before: {}", self.dearer.join(", ")).into())
    }

    fn write_page(&self) -> Outcome<()> {
        let mut page = String::from(PREFACE);
        writeln!(page, "Machine: {}.\n", self.results["machine"].as_str().unwrap_or_default())?;
        for missing in self.results["missing"].as_array().into_iter().flatten() {
            let text = |name: &str| missing[name].as_str().unwrap_or_default();
            writeln!(page, "* **{}** is not measured: {}.", text("peer"), text("why"))?;
        }
        writeln!(page, "\n## The bars\n\n{}", aligned(&bars::rows(&self.results)))?;
        for workload in crate::workloads::ALL {
            let measured = &self.results["workloads"][workload.name];
            if measured.is_null() {
                continue;
            }
            writeln!(page, "\n## {}\n\n{}\n", workload.title, measured["measured"].as_str().unwrap_or_default())?;
            if !workload.notes.is_empty() {
                writeln!(page, "{}\n", workload.notes)?;
            }
            writeln!(page, "{}\n![{}](charts/{}.svg)", table(measured), workload.title, workload.name)?;
        }
        // What people found out stands below this line and is theirs to write.
        let path = self.directory.join("RESULTS.md");
        let earlier = fs::read_to_string(&path).unwrap_or_default();
        if let Some(at) = earlier.find(BY_HAND) {
            page.push('\n');
            page.push_str(&earlier[at..]);
        } else {
            write!(page, "\n{BY_HAND}\n")?;
        }
        Ok(fs::write(path, page)?)
    }
}

const PREFACE: &str = "# Results

Written by `tests/bench/run`, down to the line that says otherwise. Each figure is the median of the rounds, which take
turns among the servers; ± is half of what lies between the least and the most of them, × the ratio to Orlop in the
same run. CPU is user and system time of the server process. *busy* is marked where others used more than 5 % of the
processors meanwhile: there CPU time is still good, throughput and latency are not. Figures of two machines do not
compare, ratios do.

";

const BY_HAND: &str = "<!-- below: written by people, kept by the program -->";

fn as_json(line: &Line) -> Value {
    let figures = line.names().into_iter().filter_map(|name| {
        let spread = line.spread(name)?;
        Some(json!({ "name": name, "median": spread.median, "least": spread.least, "most": spread.most }))
    });
    json!({
        "peer": line.peer.name(),
        "variant": line.variant,
        "figures": figures.collect::<Vec<_>>(),
        "others": line.others(),
    })
}

/// The table of a workload, in Markdown that is a table on a terminal too.
fn table(workload: &Value) -> String {
    let lines: Vec<&Value> = workload["lines"].as_array().into_iter().flatten().collect();
    let mut names: Vec<&str> = Vec::new();
    for figure in lines.iter().flat_map(|line| line["figures"].as_array().into_iter().flatten()) {
        let name = figure["name"].as_str().unwrap_or_default();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let find = |line: &Value, name: &str, which: &str| -> Option<f64> {
        line["figures"].as_array()?.iter().find(|figure| figure["name"] == name)?[which].as_f64()
    };
    let mut rows = vec![["server"].into_iter().chain(names.iter().copied()).map(String::from).collect::<Vec<_>>()];
    for line in &lines {
        let text = |name: &str| line[name].as_str().unwrap_or_default();
        let busy = if line["others"].as_f64().unwrap_or_default() > BUSY { " *busy*" } else { "" };
        let mut row = vec![[text("peer"), text("variant")].join(" ").trim().to_owned() + busy];
        let ours = lines.iter().find(|other| other["peer"] == "orlop" && other["variant"] == line["variant"]);
        for name in &names {
            row.push(find(line, name, "median").map_or_else(String::new, |median| {
                let half =
                    (find(line, name, "most").unwrap_or(median) - find(line, name, "least").unwrap_or(median)) / 2.0;
                let mut cell = number(median);
                if half > 0.005 * median {
                    let _ = write!(cell, " ± {}", number(half));
                }
                if let Some(ours) = ours.and_then(|ours| find(ours, name, "median"))
                    && line["peer"] != "orlop"
                    && ours > 0.0
                {
                    let _ = write!(cell, " ({}×)", number(median / ours));
                }
                cell
            }));
        }
        rows.push(row);
    }
    aligned(&rows)
}

/// A table in Markdown that is a table on a terminal too, its head first.
pub(crate) fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or_default()).collect();
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(text, "| {cell}{} ", " ".repeat(width - cell.chars().count()));
        }
        text.push_str("|\n");
        if index == 0 {
            widths.iter().for_each(|width| {
                let _ = write!(text, "|{}", "-".repeat(width + 2));
            });
            text.push_str("|\n");
        }
    }
    text
}

/// Three digits that count.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        size if size >= 0.01 => format!("{value:.3}"),
        _ => format!("{value:.4}"),
    }
}

fn date() -> Outcome<String> {
    let date = Command::new("date").args(["-u", "+%Y-%m-%d"]).output()?;
    Ok(String::from_utf8_lossy(&date.stdout).trim().to_owned())
}

fn commit() -> String {
    let asked = Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
    asked.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}
