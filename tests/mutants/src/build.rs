//! Builds the tests with all changes at once, each behind its switch, but those that do not compile.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::trial::{NUMBER, Pass, Tests};
use crate::{Mutant, switch};

/// The tests of the core that need no server of their own, each with the options of its program.
///
/// What notices most comes first: unit tests, transcripts, the facts of the specification. Random requests, histories and
/// schedules are for what these leave.
const PASSES: [&[(&str, &[&str])]; 2] = [
    &[("orlop_core", &[]), ("transcripts", &[]), ("spec", &["--skip=arbitrary::"])],
    &[("spec", &["arbitrary::"]), ("histories", &[]), ("explore", &[])],
];

/// The changes that compile, and the tests of each pass, which have them all.
pub(crate) fn all(
    tree: &Path,
    mutants: &BTreeMap<usize, Mutant>,
) -> Result<(BTreeSet<usize>, Vec<Pass>), Box<dyn Error>> {
    let mut files: BTreeMap<&str, String> = BTreeMap::new();
    for mutant in mutants.values() {
        if !files.contains_key(mutant.file.as_str()) {
            files.insert(&mutant.file, fs::read_to_string(tree.join(&mutant.file))?);
        }
    }
    add_switch(tree)?;
    let mut viable: BTreeSet<usize> = mutants.keys().copied().collect();
    loop {
        for (file, text) in &files {
            let here = viable.iter().map(|number| (*number, &mutants[number]));
            let here: Vec<_> = here.filter(|(_, mutant)| mutant.file == *file).collect();
            let (changed, placeless) = switch::switched(text, &here)?;
            viable.retain(|number| !placeless.contains(number));
            fs::write(tree.join(file), changed)?;
        }
        let refused = refused(tree)?;
        if refused.is_empty() {
            break;
        }
        viable.retain(|number| !refused.contains(number));
    }
    let unit = cargo(tree, &["test", "--no-run", "--package=orlop-core", "--lib"])?;
    let suites =
        ["--package=orlop-conformance", "--test=transcripts", "--test=spec", "--test=histories", "--test=explore"];
    let built = [unit, cargo(tree, &[["test", "--no-run"].as_slice(), &suites].concat())?].concat();
    let tests = |&(name, options): &(&'static str, &'static [&'static str])| {
        let test = |message: &&Value| message["target"]["name"] == name && message["profile"]["test"] == true;
        let program = built.iter().find(test).and_then(|message| message["executable"].as_str());
        let program = program.ok_or_else(|| format!("the tests {name} do not compile in {}", tree.display()))?.into();
        let folder = tree.join(if name == "orlop_core" { "core" } else { "tests" });
        Ok(Tests { name, program, options, folder, limit: Duration::from_secs(3600) })
    };
    let pass = |pass: &[_]| pass.iter().map(tests).collect::<Result<Pass, String>>();
    let passes = PASSES.into_iter().map(pass).collect::<Result<Vec<_>, _>>()?;
    Ok((viable, passes))
}

/// Adds to the core the function that every change asks.
fn add_switch(tree: &Path) -> Result<(), Box<dyn Error>> {
    let library = tree.join("core/src/lib.rs");
    let text = fs::read_to_string(&library)?;
    let switch = format!(
        "
/// Whether this change of the source is the one to try.
pub(crate) fn switched(number: usize) -> bool {{
    extern crate std;
    static NUMBER: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    let read = || std::env::var(\"{NUMBER}\").ok().and_then(|number| number.parse().ok()).unwrap_or(0);
    *NUMBER.get_or_init(read) == number
}}
"
    );
    Ok(fs::write(library, text + &switch)?)
}

/// The changes that the compiler refuses: those nearest before its errors. Some are seen when others are gone.
fn refused(tree: &Path) -> Result<BTreeSet<usize>, Box<dyn Error>> {
    let mut refused = BTreeSet::new();
    for message in cargo(tree, &["check", "--package=orlop-core"])? {
        let message = &message["message"];
        if message["level"] != "error" {
            continue;
        }
        let spans = message["spans"].as_array().into_iter().flatten().filter(|span| span["is_primary"] == true);
        let mut changes = 0;
        for span in spans {
            let text = fs::read_to_string(tree.join(span["file_name"].as_str().unwrap_or_default()))?;
            let before = &text[..span["byte_start"].as_u64().unwrap_or(0) as usize];
            let nearest = before.rsplit_once("crate::switched(").and_then(|(_, rest)| rest.split_once(')'));
            if let Some(number) = nearest.and_then(|(number, _)| number.parse().ok()) {
                refused.insert(number);
                changes += 1;
            }
        }
        if changes == 0 && message["code"] != Value::Null {
            return Err(format!("without a change it does not compile: {}", message["rendered"]).into());
        }
    }
    Ok(refused)
}

/// Runs cargo in the tree: its messages. What it prints besides tells of changes that do not compile and of warnings.
fn cargo(tree: &Path, arguments: &[&str]) -> Result<Vec<Value>, Box<dyn Error>> {
    let mut command = Command::new("cargo");
    command.current_dir(tree).args(arguments).args(["--locked", "--message-format=json"]);
    let output = command.output()?;
    let lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    Ok(lines.map(serde_json::from_slice).collect::<Result<_, _>>()?)
}
