//! `orlop-conformance`: tests any container registry.

use std::process::ExitCode;

use clap::Parser;
use orlop_conformance::tester::command::Command;

fn main() -> ExitCode {
    Command::parse().run()
}
