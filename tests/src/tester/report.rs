//! What was found, told in three ways: a page to read, JUnit for machines that run tests, JSON for all others.

mod html;

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use serde_json::{Value as Json, json};

use super::history::Failure;
use super::run::{Findings, Found};

/// Writes `report.html`, `junit.xml` and `report.json` into a directory, which is made if there is none.
///
/// # Errors
///
/// When they cannot be written.
pub fn write(findings: &Findings, directory: &Path) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    std::fs::write(directory.join("report.html"), html::page(findings))?;
    std::fs::write(directory.join("junit.xml"), junit(findings))?;
    std::fs::write(directory.join("report.json"), format!("{:#}\n", json(findings)))
}

/// What is checked, a line each, and why some items of the specification are not.
pub fn checks() -> String {
    let mut text = String::new();
    for check in super::checks::all() {
        let _ = writeln!(text, "{:<6} {} ({})\n       {}", check.level.name(), check.fact, check.source, check.id());
    }
    text.push_str("\nThese items have no check of their own:\n");
    for (item, why) in super::checks::ELSEWHERE {
        let _ = writeln!(text, "{item:<6} {why}");
    }
    text
}

/// The findings as JSON.
pub fn json(findings: &Findings) -> Json {
    let settings = &findings.settings;
    let check = |checked: &super::run::Checked| {
        let mut entry = serde_json::to_value(&checked.found).unwrap_or_default();
        entry["id"] = checked.check.id().into();
        entry["fact"] = checked.check.fact.into();
        entry["level"] = checked.check.level.name().into();
        entry["source"] = checked.check.source.into();
        entry["item"] = checked.check.item.into();
        entry
    };
    json!({
        "target": findings.target,
        "seed": settings.seed,
        "prefix": settings.prefix,
        "profile": settings.profile,
        "offers": findings.can,
        "checks": findings.checked.iter().map(check).collect::<Vec<_>>(),
        "histories": {
            "played": findings.played.0,
            "operations": findings.played.1,
            "failed": findings.failed,
            "failures": findings.failures,
        },
        "concurrent": { "played": findings.concurrent.0, "failures": findings.concurrent.1 },
        "ended": findings.ended,
        "passed": findings.ended.is_none() && findings.all_is_well(),
    })
}

/// The findings for machines that run tests. What does not count and what is not offered is skipped.
fn junit(findings: &Findings) -> String {
    let mut cases = String::new();
    let (mut tests, mut failures, mut skipped) = (0, 0, 0);
    for checked in &findings.checked {
        let name = format!("{} {}", checked.check.id(), checked.check.fact);
        let class = format!("checks.{}", checked.check.level.name());
        tests += 1;
        let inner = match &checked.found {
            Found::Passed => String::new(),
            Found::NotOffered { what } => {
                skipped += 1;
                format!("<skipped message=\"{}\"/>", escape(&format!("not offered: {what}")))
            }
            Found::Failed { expected, came, curl, counts: true } => {
                failures += 1;
                failure(expected, came, curl)
            }
            Found::Failed { expected, came, .. } => {
                skipped += 1;
                let message = format!("does not count under this profile: expected {expected}, came {came}");
                format!("<skipped message=\"{}\"/>", escape(&message))
            }
        };
        let _ = writeln!(cases, "<testcase classname=\"{class}\" name=\"{}\">{inner}</testcase>", escape(&name));
    }
    let kinds = [
        ("random", findings.played.0, &findings.failures),
        ("concurrent", findings.concurrent.0, &findings.concurrent.1),
    ];
    for (kind, played, failed) in kinds {
        for found in failed {
            tests += 1;
            failures += 1;
            let name = escape(&format!("history {}: {}", found.history, found.expected));
            let inner = failure(&found.expected, &found.came, &found.curl);
            let _ = writeln!(cases, "<testcase classname=\"histories.{kind}\" name=\"{name}\">{inner}</testcase>");
        }
        if played > 0 && failed.is_empty() {
            tests += 1;
            let _ = writeln!(cases, "<testcase classname=\"histories.{kind}\" name=\"{played} {kind} histories\"/>");
        }
    }
    let mut errors = 0;
    if let Some(why) = &findings.ended {
        (tests, errors) = (tests + 1, 1);
        let _ = writeln!(
            cases,
            "<testcase classname=\"run\" name=\"the run comes to its end\"><error message=\"{}\"/></testcase>",
            escape(why)
        );
    }
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"orlop-conformance {}\" tests=\"{tests}\" \
         failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\">\n{cases}</testsuite>\n",
        escape(&findings.target)
    )
}

fn failure(expected: &str, came: &str, curl: &str) -> String {
    let message = escape(&format!("expected {expected}"));
    format!(
        "<failure message=\"{message}\">{}</failure>",
        escape(&format!("expected {expected}\ncame {came}\n\n{curl}"))
    )
}

/// Text for HTML and XML: marks escaped, what XML cannot hold replaced.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// The findings as lines for a terminal.
pub fn summary(findings: &Findings) -> String {
    let mut lines = String::new();
    for checked in findings.failed_checks() {
        if let Found::Failed { expected, came, curl, .. } = &checked.found {
            let check = checked.check;
            let _ = writeln!(
                lines,
                "\nFAILED {} ({}, {}; SPEC {})",
                check.fact,
                check.level.name(),
                check.source,
                check.item
            );
            told(&mut lines, expected, came, curl);
        }
    }
    let mut failure = |kind: &str, failure: &Failure| {
        let _ = writeln!(lines, "\nFAILED {kind} history {}:", failure.history);
        for operation in &failure.operations {
            let _ = writeln!(lines, "    - {operation}");
        }
        told(&mut lines, &failure.expected, &failure.came, &failure.curl);
    };
    findings.failures.iter().for_each(|found| failure("random", found));
    findings.concurrent.1.iter().for_each(|found| failure("concurrent", found));

    let count = |wanted: fn(&Found) -> bool| findings.checked.iter().filter(|c| wanted(&c.found)).count();
    let not_offered: Vec<&str> =
        findings.can.iter().flat_map(|can| can.list()).filter(|(_, offered)| !offered).map(|(what, _)| what).collect();
    let _ = writeln!(lines);
    if !not_offered.is_empty() {
        let _ = writeln!(lines, "not offered, and need not be: {}", not_offered.join(", "));
    }
    let without =
        findings.checked.iter().filter(|checked| matches!(checked.found, Found::Failed { counts: false, .. })).map(
            |checked| format!("  {} ({}, {})", checked.check.fact, checked.check.level.name(), checked.check.source),
        );
    let without: Vec<String> = without.collect();
    if !without.is_empty() {
        let _ = writeln!(lines, "not so, but not demanded under this profile:\n{}", without.join("\n"));
    }
    let _ = writeln!(
        lines,
        "checks: {} passed, {} failed, {} not demanded, {} not offered",
        count(|found| matches!(found, Found::Passed)),
        count(|found| matches!(found, Found::Failed { counts: true, .. })),
        without.len(),
        count(|found| matches!(found, Found::NotOffered { .. })),
    );
    let _ = writeln!(
        lines,
        "histories: {} with {} operations, {} failed in {} ways; {} concurrent, {} failed",
        findings.played.0,
        findings.played.1,
        findings.failed,
        findings.failures.len(),
        findings.concurrent.0,
        findings.concurrent.1.len()
    );
    let _ = writeln!(lines, "seed {} repeats this run", findings.settings.seed);
    lines
}

fn told(lines: &mut String, expected: &str, came: &str, curl: &str) {
    let _ = writeln!(lines, "  expected {expected}\n  came     {}", came.replace('\n', " "));
    for line in curl.lines() {
        let _ = writeln!(lines, "    {line}");
    }
}
