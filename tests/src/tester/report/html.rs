//! The page: one file without anything from elsewhere, for whoever never saw the specification.

use std::fmt::Write as _;

use super::super::history::Failure;
use super::super::run::{Checked, Findings, Found};
use super::escape;

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1b2330; --dim: #566173; --paper: #fff; --soft: #f4f6f9; --line: #dbe1e9;
  --good: #1a7f4b; --bad: #b3261e; --mild: #8a6d00; --none: #aab4c2; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf0; --dim: #9aa6b6; --paper: #12161d; --soft: #1b212b;
  --line: #333d4c; --good: #5fcf95; --bad: #ff8a80; --mild: #e0c060; --none: #566173; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 2rem 1.25rem 5rem; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, sans-serif; }
h1 { margin: 0 0 1.25rem; font-size: clamp(1.35rem, 4vw, 1.9rem); line-height: 1.25; letter-spacing: -.01em; }
h2 { margin: 3rem 0 .75rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line); font-size: 1.2rem; }
pre { overflow-x: auto; margin: .4rem 0 .2rem; padding: .8rem; background: var(--paper); border: 1px solid var(--line);
  border-radius: 6px; font: 13px/1.5 ui-monospace, monospace; }
code { font-family: ui-monospace, monospace; font-size: .92em; overflow-wrap: anywhere; }
.good { color: var(--good); } .bad { color: var(--bad); } .mild { color: var(--mild); } .dim { color: var(--dim); }
.verdict { padding: 1.1rem 1.25rem; border: 1px solid var(--line); border-left: .4rem solid; border-radius: 8px;
  background: var(--soft); } .verdict p { margin: 0; } .verdict.good { border-left-color: var(--good); }
.verdict.bad { border-left-color: var(--bad); } .verdict, .verdict p { color: var(--ink); }
.verdict strong { font-size: 1.15rem; }
.bar { display: flex; gap: 2px; height: .8rem; margin: 1rem 0 .6rem; border-radius: 6px; overflow: hidden; }
.bar i { background: currentColor; min-width: 3px; } .none { color: var(--none); }
.counts { display: flex; flex-wrap: wrap; gap: .2rem 1.4rem; margin: 0; padding: 0; list-style: none; }
.counts b { font-variant-numeric: tabular-nums; } .counts span { margin-right: .3rem; }
details { margin: .6rem 0; padding: .6rem .9rem; background: var(--soft); border: 1px solid var(--line);
  border-radius: 8px; } summary { cursor: pointer; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); gap: 0 1.5rem; }
dl { margin: .6rem 0; } dt { color: var(--dim); font-size: .85rem; } dd { margin: 0 0 .5rem; overflow-wrap: anywhere; }
/* What is long scrolls, and has a shadow where it goes on. */
.pair dd { max-height: 12.4rem; overflow-y: auto; background: linear-gradient(var(--soft) 40%, transparent) top,
  linear-gradient(transparent, var(--soft) 60%) bottom, linear-gradient(var(--line), transparent) top,
  linear-gradient(transparent, var(--line)) bottom; background-repeat: no-repeat;
  background-size: 100% 2rem, 100% 2rem, 100% .8rem, 100% .8rem; background-attachment: local, local, scroll, scroll; }
details details { margin: .2rem 0; padding: 0; border: 0; } a.level { color: inherit; text-decoration: none; }
ol { margin: .5rem 0; padding-left: 1.6rem; }
table { border-collapse: collapse; width: 100%; } td, th { padding: .45rem .5rem .45rem 0; text-align: left;
  vertical-align: top; border-bottom: 1px solid var(--line); overflow-wrap: anywhere; } td:last-child { width: 9rem; }
.tag { color: var(--dim); font-size: .82rem; } .level { padding: 0 .4rem; border: 1px solid var(--line);
  border-radius: 4px; font-size: .72rem; letter-spacing: .03em; white-space: nowrap; vertical-align: .08em; }
@media (max-width: 30rem) { body { padding: 1.25rem .9rem 3rem; } td:last-child { width: 6rem; } }
";

const LEVELS: &str =
    "<dl><dt>MUST, SHOULD</dt><dd>The OCI distribution specification, or HTTP itself, says so in these
words: every registry has to, or has to have a reason not to.</dd><dt>DOC</dt><dd>Docker&#8217;s description of its
registry API says so. It counts for registries that say that they speak this API.</dd><dt>GOOD</dt><dd>No text demands
it; clients fare better with it. It counts only under the profile <code>strict</code>.</dd><dt>OCI HEAD</dt><dd>The coming
version of the specification says so. It counts under the profile <code>oci-next</code>.</dd><dt>Items, such as C8</dt>
<dd>The same in <code>tests/SPEC.md</code> of Orlop, in full and with where it comes from. <code>--checks C8</code>
tries only that.</dd></dl>";

/// The page.
pub(super) fn page(findings: &Findings) -> String {
    let target = escape(&findings.target);
    let mut failed: Vec<&Checked> = findings.failed_checks().collect();
    // What matters most comes first.
    failed.sort_by_key(|checked| checked.check.level);
    let wrong = failed.len() + findings.failures.len() + findings.concurrent.1.len();
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{target}: {wrong} deviation{}</title><style>{STYLE}</style></head><body>\n\
         <h1>Does the registry at <code>{target}</code> do what a container registry must?</h1>\n",
        if wrong == 1 { "" } else { "s" }
    );
    verdict(&mut page, findings, wrong);
    if !failed.is_empty() {
        page.push_str("<h2>What it does not do as it must</h2>\n<p>What every registry has to do comes first. Each has the lines to see it for yourself: paste them into a shell that has <code>curl</code>.</p>\n");
        failed.iter().for_each(|checked| deviation(&mut page, checked, true));
    }
    histories(&mut page, &RANDOM, &findings.failures);
    histories(&mut page, &CONCURRENT, &findings.concurrent.1);
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
         clients work at once. <code>--seed {}</code> repeats the run.</p>\n<h2 id=\"levels\">What the levels mean</h2>{LEVELS}\n</body></html>\n",
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
        (None, _) => {
            let (checks, histories) = (findings.failed_checks().count(), wrong - findings.failed_checks().count());
            let some = |n: usize, one: &str, many: &str| match n {
                0 => None,
                1 => Some(format!("one {one}")),
                n => Some(format!("{n} {many}")),
            };
            let parts = [some(checks, "check failed", "checks failed"), some(histories, "history", "histories")];
            let parts = parts.into_iter().flatten().collect::<Vec<_>>().join(", and ");
            let verb = if histories > 0 { " went wrong" } else { "" };
            ("bad", format!("Not everything: {parts}{verb}."))
        }
    };
    let why = findings.ended.as_ref().map(|why| format!(" {}", escape(why))).unwrap_or_default();
    let failed = count(|found| matches!(found, Found::Failed { counts: true, .. }));
    let mild = count(|found| matches!(found, Found::Failed { counts: false, .. }));
    let parts = [
        ("good", passed, "passed"),
        ("bad", failed, "failed"),
        ("mild", mild, "not so, but not demanded"),
        ("none", absent, "about what it does not offer and need not"),
    ];
    let there = || parts.iter().filter(|(_, number, _)| *number > 0);
    let bar: String = there().map(|(class, n, _)| format!("<i class=\"{class}\" style=\"flex:{n}\"></i>")).collect();
    let counts = there()
        .map(|(class, number, what)| format!("<li><span class=\"{class}\">&#9632;</span><b>{number}</b> {what}</li>"));
    let _ = writeln!(
        page,
        "<div class=\"verdict {class}\"><p><strong>{word}</strong>{why}</p><div class=\"bar\" aria-hidden=\"true\">{bar}</div>\
         <ul class=\"counts\">{}</ul></div>",
        counts.collect::<String>()
    );
}

fn deviation(page: &mut String, checked: &Checked, open: bool) {
    let Found::Failed { expected, came, curl, .. } = &checked.found else { return };
    let check = checked.check;
    let _ = writeln!(
        page,
        "<details{}><summary><span class=\"{}\">&#10007;</span> {} <a class=\"level\" href=\"#levels\">{}</a></summary>\
         <dl class=\"pair\"><div><dt>Expected</dt><dd>{}</dd></div><div><dt>What came</dt><dd>{}</dd></div></dl>\
         <div class=\"tag\">Demanded by {}; item {}</div><details><summary class=\"tag\">See it with curl</summary>\
         <pre>{}</pre></details></details>",
        if open { " open" } else { "" },
        if open { "bad" } else { "mild" },
        escape(check.fact),
        check.level.name(),
        escape(expected),
        escape(came),
        escape(check.source),
        check.item,
        escape(curl)
    );
}

/// What is said of histories of a kind.
struct Kind {
    title: &'static str,
    about: &'static str,
    expected: &'static str,
}

const RANDOM: Kind = Kind {
    title: "Random histories that went wrong",
    about: "Each is the shortest that was found to fail.",
    expected: "Expected of the last step",
};

const CONCURRENT: Kind = Kind {
    title: "Concurrent histories that nothing explains",
    about: "Several clients were at work at once. Each step has the moments at which it began and ended, and what its \
            client was told; one that was answered as it never may be is not among them.",
    expected: "Expected",
};

fn histories(page: &mut String, kind: &Kind, failures: &[Failure]) {
    if failures.is_empty() {
        return;
    }
    let _ = writeln!(page, "<h2>{}</h2>\n<p>{}</p>", kind.title, kind.about);
    for failure in failures {
        let steps: String = failure.operations.iter().map(|step| format!("<li>{}</li>", escape(step))).collect();
        let _ = writeln!(
            page,
            "<details open><summary><span class=\"bad\">&#10007;</span> history {}: {}</summary><ol>{steps}</ol>\
             <dl class=\"pair\"><div><dt>{}</dt><dd>{}</dd></div><div><dt>What came</dt><dd>{}</dd></div></dl>\
             <details><summary class=\"tag\">See it with curl</summary><pre>{}</pre></details></details>",
            failure.history,
            escape(&failure.expected),
            kind.expected,
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
    let number = findings.checked.len();
    let _ = writeln!(page, "<h2>Every check</h2>\n<details><summary>All {number} of them</summary><table>");
    for checked in &findings.checked {
        let result = match &checked.found {
            Found::Passed => "<span class=\"good\">passed</span>".to_owned(),
            Found::Failed { counts: true, .. } => "<span class=\"bad\">failed</span>".to_owned(),
            Found::Failed { .. } => "<span class=\"mild\">not so</span>".to_owned(),
            Found::NotOffered { what } => format!("<span class=\"dim\">not offered: {}</span>", escape(what)),
        };
        let check = checked.check;
        let _ = writeln!(
            page,
            "<tr><td>{}<br><span class=\"tag\"><span class=\"level\">{}</span> {}; item {}</span></td><td>{result}</td></tr>",
            escape(check.fact),
            check.level.name(),
            escape(check.source),
            check.item
        );
    }
    page.push_str("</table></details>\n");
}
