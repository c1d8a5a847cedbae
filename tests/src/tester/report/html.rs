//! The page: one file without anything from elsewhere, for whoever never saw the specification.

use std::fmt::Write as _;

use super::super::history::Failure;
use super::super::run::{Checked, Findings, Found};
use super::escape;

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1c2430; --paper: #fff; --soft: #f2f4f7; --line: #d5dbe3; --good: #1a7f4b;
  --bad: #b3261e; --mild: #8a6d00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ee; --paper: #14181f; --soft: #1f2530; --line: #394252;
  --good: #5fcf95; --bad: #ff8a80; --mild: #e0c060; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 1.5rem 1rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { margin-top: 2.5rem; font-size: 1.25rem; }
pre { overflow-x: auto; padding: .8rem; background: var(--soft); border: 1px solid var(--line); border-radius: 6px;
  font: 13px/1.45 ui-monospace, monospace; }
code { font-family: ui-monospace, monospace; overflow-wrap: anywhere; }
.verdict { padding: .8rem 1rem; border-left: .4rem solid; background: var(--soft); }
.good { color: var(--good); } .bad { color: var(--bad); } .mild { color: var(--mild); }
.verdict.good, .verdict.bad { color: var(--ink); } .verdict.good { border-color: var(--good); }
.verdict.bad { border-color: var(--bad); }
details { margin: .5rem 0; padding: .5rem .8rem; border: 1px solid var(--line); border-radius: 6px; }
summary { cursor: pointer; } dt { font-weight: 600; } dd { margin: 0 0 .5rem; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; } td, th { padding: .3rem .5rem; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); } .tag { font-size: .8rem; white-space: nowrap; }
";

const LEVELS: &str = "<dl><dt>MUST, SHOULD</dt><dd>The OCI distribution specification, or HTTP itself, says so in these
words: every registry has to, or has to have a reason not to.</dd><dt>DOC</dt><dd>Docker&#8217;s description of its
registry API says so. It counts for registries that say that they speak this API.</dd><dt>GOOD</dt><dd>No text demands
it; clients fare better with it. It counts only under the profile <code>strict</code>.</dd></dl>";

/// The page.
pub(super) fn page(findings: &Findings) -> String {
    let target = escape(&findings.target);
    let failed: Vec<&Checked> = findings.failed_checks().collect();
    let wrong = failed.len() + findings.failures.len() + findings.concurrent.1.len();
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{target}: {wrong} deviations</title><style>{STYLE}</style></head><body>\n\
         <h1>Does the registry at <code>{target}</code> do what a container registry must?</h1>\n"
    );
    verdict(&mut page, findings, wrong);
    if !failed.is_empty() {
        page.push_str("<h2>What it does not do as it must</h2>\n<p>Each has the lines to see it for yourself: paste them into a shell that has <code>curl</code>.</p>\n");
        failed.iter().for_each(|checked| deviation(&mut page, checked, true));
    }
    histories(&mut page, "Random histories that went wrong", &findings.failures);
    histories(&mut page, "Concurrent histories that nothing explains", &findings.concurrent.1);
    let mild = |checked: &&Checked| matches!(checked.found, Found::Failed { counts: false, .. });
    if findings.checked.iter().any(|checked| mild(&checked)) {
        page.push_str("<h2>Not so, but not demanded under this profile</h2>\n");
        findings.checked.iter().filter(mild).for_each(|checked| deviation(&mut page, checked, false));
    }
    offers(&mut page, findings);
    every_check(&mut page, findings);
    let settings = &findings.settings;
    let _ = write!(
        page,
        "<h2>How it was tested</h2>\n<p>By requests over HTTP alone, in repositories below <code>{}</code>. {} random \
         histories with {} operations were played, judged by an executable model of a registry, and {} in which several \
         clients work at once. <code>--seed {}</code> repeats the run.</p>\n<h2>What the levels mean</h2>{LEVELS}\n</body></html>\n",
        escape(&settings.prefix),
        findings.played.0,
        findings.played.1,
        findings.concurrent.0,
        settings.seed
    );
    page
}

fn verdict(page: &mut String, findings: &Findings, wrong: usize) {
    let count = |wanted: fn(&Found) -> bool| findings.checked.iter().filter(|c| wanted(&c.found)).count();
    let passed = count(|found| matches!(found, Found::Passed));
    let absent = count(|found| matches!(found, Found::NotOffered { .. }));
    let (class, word) = match (&findings.ended, wrong) {
        (Some(_), _) => ("bad", "The test ended before its end.".to_owned()),
        (None, 0) => ("good", "Yes: nothing was found that it does not do as it must.".to_owned()),
        (None, 1) => ("bad", "Not everything: there is one deviation.".to_owned()),
        (None, n) => ("bad", format!("Not everything: there are {n} deviations.")),
    };
    let why = findings.ended.as_ref().map(|why| format!(" {}", escape(why))).unwrap_or_default();
    let _ = writeln!(
        page,
        "<p class=\"verdict {class}\"><strong>{word}</strong>{why}<br>{passed} of {} checks passed; {absent} were about \
         what this registry does not offer and need not.</p>",
        findings.checked.len()
    );
}

fn deviation(page: &mut String, checked: &Checked, open: bool) {
    let Found::Failed { expected, came, curl, .. } = &checked.found else { return };
    let check = checked.check;
    let _ = writeln!(
        page,
        "<details{}><summary><span class=\"{}\">&#10007;</span> {} <span class=\"tag\">{}</span></summary><dl>\
         <dt>Who demands it</dt><dd>{} (item {})</dd><dt>Expected</dt><dd>{}</dd><dt>What came</dt><dd>{}</dd></dl>\
         <pre>{}</pre></details>",
        if open { " open" } else { "" },
        if open { "bad" } else { "mild" },
        escape(check.fact),
        check.level.name(),
        escape(check.source),
        check.item,
        escape(expected),
        escape(came),
        escape(curl)
    );
}

fn histories(page: &mut String, title: &str, failures: &[Failure]) {
    if failures.is_empty() {
        return;
    }
    let _ = writeln!(page, "<h2>{title}</h2>");
    for failure in failures {
        let steps: String = failure.operations.iter().map(|step| format!("<li>{}</li>", escape(step))).collect();
        let _ = writeln!(
            page,
            "<details open><summary><span class=\"bad\">&#10007;</span> history {}: {}</summary><ol>{steps}</ol><dl>\
             <dt>Expected of the last</dt><dd>{}</dd><dt>What came</dt><dd>{}</dd></dl><pre>{}</pre></details>",
            failure.history,
            escape(&failure.expected),
            escape(&failure.expected),
            escape(&failure.came),
            escape(&failure.curl)
        );
    }
}

fn offers(page: &mut String, findings: &Findings) {
    let Some(can) = &findings.can else { return };
    page.push_str("<h2>What it offers of that which is left open</h2>\n<table>");
    for (what, offered) in can.list() {
        let mark = if offered { "<span class=\"good\">yes</span>" } else { "no" };
        let _ = write!(page, "<tr><td>{what}</td><td>{mark}</td></tr>");
    }
    page.push_str("</table>\n");
}

fn every_check(page: &mut String, findings: &Findings) {
    page.push_str("<h2>Every check</h2>\n<table><tr><th>Fact</th><th>Level</th><th>Result</th></tr>\n");
    for checked in &findings.checked {
        let result = match &checked.found {
            Found::Passed => "<span class=\"good\">passed</span>".to_owned(),
            Found::Failed { counts: true, .. } => "<span class=\"bad\">failed</span>".to_owned(),
            Found::Failed { .. } => "<span class=\"mild\">not so</span>".to_owned(),
            Found::NotOffered { what } => format!("not offered: {}", escape(what)),
        };
        let check = checked.check;
        let _ = writeln!(
            page,
            "<tr><td>{}<br><span class=\"tag\">{}, {}</span></td><td class=\"tag\">{}</td><td>{result}</td></tr>",
            escape(check.fact),
            check.item,
            escape(check.source),
            check.level.name()
        );
    }
    page.push_str("</table>\n");
}
