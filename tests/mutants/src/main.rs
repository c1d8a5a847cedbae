//! Changes the source of the core's flows, one place at a time, and says which changes no test notices.
//!
//!     cargo mutants --list --json … | orlop-mutants TREE SURVIVORS
//!
//! cargo-mutants says which changes there are. To build the tests for each of them would take a day, so all are compiled
//! into one program, each behind a switch (`switch.rs`), and a change costs no more than a run of the tests with its
//! number in the environment. `TREE` is a copy of the sources, which is written to. `SURVIVORS` lists the changes that
//! need not be noticed. Exits with 0 when these are the ones that are not.
//!
//!     orlop-mutants TREE
//!
//! Plants mistakes that an engine for several hosts may have (`shared.rs`), instead.

mod build;
mod shared;
mod switch;
mod trial;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use serde::Deserialize;

use trial::Tests;

/// A change, as cargo-mutants lists it.
#[derive(Clone, Debug, Deserialize)]
struct Mutant {
    /// The file, from the top of the tree.
    file: String,
    /// `<file>:<line>:<column>: <what>`.
    name: String,
    genre: Genre,
    /// What is to stand in the place.
    replacement: String,
    span: Span,
}

/// What kind of place is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum Genre {
    FnValue,
    BinaryOperator,
    UnaryOperator,
    MatchArm,
    MatchArmGuard,
    StructField,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Span {
    start: Position,
}

/// Both count from 1, the column in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct Position {
    line: usize,
    column: usize,
}

impl Mutant {
    /// The name without line and column, which move.
    fn short(&self) -> String {
        let what = self.name.split_once(": ").map_or("", |(_, what)| what);
        format!("{}: {what}", self.file)
    }
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (tree, survivors) = match arguments.as_slice() {
        [tree] => return shared::tried(Path::new(tree)),
        [tree, survivors] => (tree, survivors),
        _ => return Err("usage: orlop-mutants TREE [SURVIVORS]".into()),
    };
    let listed = std::fs::read_to_string(survivors)?;
    let listed: BTreeSet<&str> = listed.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();

    // A change has its place in the list as its number, from 1 on: 0 is none.
    let mutants: Vec<Mutant> = serde_json::from_reader(std::io::stdin().lock())?;
    let mutants: BTreeMap<usize, Mutant> = (1..).zip(mutants).collect();
    println!("{} changes: compiling", mutants.len());
    let (mut left, passes) = build::all(Path::new(tree), &mutants)?;
    let compiled = left.len();
    println!("{compiled} of them compile");

    let mut noticed = BTreeSet::new();
    for pass in passes {
        if left.is_empty() {
            break;
        }
        let tests = pass.into_iter().map(Tests::measured).collect::<Result<Vec<_>, _>>()?;
        for number in left.clone() {
            let mutant = &mutants[&number];
            if let Some(by) = trial::noticed(&tests, number)? {
                println!("noticed   {}: {by}", mutant.name);
                noticed.insert(mutant.short());
                left.remove(&number);
            } else {
                println!("survives  {}", mutant.name);
            }
        }
    }

    let survived: BTreeSet<String> = left.iter().map(|number| mutants[number].short()).collect();
    let new: Vec<_> = survived.iter().filter(|name| !listed.contains(name.as_str())).collect();
    // A line may stand for several places, one of which is noticed.
    let gone: Vec<_> = noticed.difference(&survived).filter(|name| listed.contains(name.as_str())).collect();
    println!("{} noticed, {} survive", compiled - left.len(), left.len());
    new.iter().for_each(|name| println!("no test notices: {name}"));
    gone.iter().for_each(|name| println!("a test notices, so it is no survivor: {name}"));
    Ok(if new.is_empty() && gone.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
