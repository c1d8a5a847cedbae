//! Where each value comes from: what `orlop config show` prints.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

use super::file::Entry;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A flag of the command line.
    Flag,
    /// That variable of the environment.
    Environment(String),
    /// That line of the file.
    File(PathBuf, usize),
    /// Nobody said anything else.
    Default,
}

/// A setting as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// Its name, as a flag without dashes.
    pub key: String,
    /// Its values, several for a list, none when it is not set.
    pub values: Vec<String>,
    /// Where they come from.
    pub origin: Origin,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Environment(name) => f.write_str(name),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// As a line of a file that would set it, and a comment that says where it comes from.
impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |value: &String| match value.as_str() {
            "true" | "false" => value.clone(),
            table if table.starts_with('{') => value.clone(),
            text => toml::Value::from(text).to_string(),
        };
        let value = match self.values.as_slice() {
            [] => return write!(f, "# {} is not set", self.key),
            [one] if !one.starts_with('{') => quoted(one),
            several => format!("[{}]", several.iter().map(quoted).collect::<Vec<_>>().join(", ")),
        };
        write!(f, "{} = {value}  # {}", self.key, self.origin)
    }
}

pub(super) fn effective(
    command: &Command,
    matches: &ArgMatches,
    added: &[&Entry],
    file: Option<&Path>,
) -> Vec<Effective> {
    let settings = command.get_arguments().filter(|argument| argument.get_long().is_some());
    let settings = settings.filter(|argument| !matches!(argument.get_id().as_str(), "help" | "version"));
    settings.map(|argument| one(argument, matches, added, file)).collect()
}

fn one(argument: &Arg, matches: &ArgMatches, added: &[&Entry], file: Option<&Path>) -> Effective {
    let id = argument.get_id().as_str();
    let raw = matches.try_get_raw(id).ok().flatten().into_iter().flatten();
    let values = raw.map(|value| value.to_string_lossy().into_owned()).collect();
    let entry = added.iter().find(|entry| entry.id() == id);
    let origin = match (entry, file, matches.value_source(id)) {
        (Some(entry), Some(file), _) => Origin::File(file.into(), entry.line),
        (_, _, Some(ValueSource::CommandLine)) => Origin::Flag,
        (_, _, Some(ValueSource::EnvVariable)) => {
            Origin::Environment(argument.get_env().unwrap_or_default().to_string_lossy().into_owned())
        }
        _ => Origin::Default,
    };
    Effective { key: argument.get_long().unwrap_or(id).into(), values, origin }
}
