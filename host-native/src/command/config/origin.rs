//! Where each value comes from: what `orlop config show` prints.

use std::collections::HashMap;
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
    /// It was not set.
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
    /// The line of each value, when they come from a file.
    pub lines: Vec<usize>,
}

impl Effective {
    /// Where one of its values comes from, and that value.
    pub fn place(&self, value: usize) -> Option<(Origin, &str)> {
        let origin = match (&self.origin, self.lines.get(value)) {
            (Origin::File(path, _), Some(line)) => Origin::File(path.clone(), *line),
            (origin, _) => origin.clone(),
        };
        self.values.get(value).map(|text| (origin, text.as_str()))
    }

    /// Which of its values a message is about: it names the setting, one of them by its number, or has a value as text.
    fn named_in(&self, message: &str) -> Vec<usize> {
        let of_name = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
        for (at, key) in message.match_indices(&self.key) {
            let rest = &message[at + key.len()..];
            if message[..at].ends_with(of_name) || rest.starts_with(of_name) {
                continue;
            }
            let number = rest.trim_start().split(|c: char| !c.is_ascii_digit()).next().and_then(|n| n.parse().ok());
            if let Some(place) = number.and_then(|number: usize| number.checked_sub(1)) {
                return vec![place];
            }
            // A name without a dash is also a word of English.
            if key.contains('-') || rest.starts_with(" = ") || (rest.starts_with('`') && message[..at].ends_with('`')) {
                return (0..self.values.len()).collect();
            }
        }
        let path = |value: &String| value.contains('/') && message.contains(value.as_str());
        (0..self.values.len()).filter(|place| self.values.get(*place).is_some_and(path)).collect()
    }
}

/// Where each rule stands, and how it is written.
pub fn places_of_rules(effective: &[Effective]) -> Vec<(String, String)> {
    let rules = effective.iter().find(|setting| setting.key == "rule");
    let place = |rules: &Effective, at| rules.place(at).map(|(origin, text)| (origin.to_string(), text.to_owned()));
    rules.map(|rules| (0..rules.values.len()).filter_map(|at| place(rules, at)).collect()).unwrap_or_default()
}

/// A message about settings, and below it each of these settings that was set, with its place and its value.
pub fn with_places(message: &str, effective: &[Effective]) -> String {
    let set = effective.iter().filter(|setting| setting.origin != Origin::Default && setting.key != "config");
    let mut told = message.to_owned();
    for setting in set {
        let named = setting.named_in(message).into_iter().filter_map(|place| setting.place(place));
        for (origin, value) in named {
            told.push_str(&format!("\n  {origin}: {} = {}", setting.key, quoted(value)));
        }
    }
    told
}

fn quoted(value: &str) -> String {
    match value {
        "true" | "false" => value.into(),
        table if table.starts_with('{') => value.into(),
        text => toml::Value::from(without_secret(text)).to_string(),
    }
}

/// A value without the password of a URL, or what an option with such a name has: it is shown on terminals and in logs.
fn without_secret(value: &str) -> String {
    const HIDDEN: &str = "…";
    const PASSWORD: &str = "password=";
    if let Some(at) = value.find(PASSWORD) {
        let (before, secret) = value.split_at(at + PASSWORD.len());
        let end = secret.find(['&', ' ']).unwrap_or(secret.len());
        return format!("{before}{HIDDEN}{}", &secret[end..]);
    }
    if let Some((scheme, rest)) = value.split_once("://") {
        let end = rest.find('/').unwrap_or(rest.len());
        if let Some(at) = rest[..end].rfind('@')
            && let Some((user, _)) = rest[..at].split_once(':')
        {
            return format!("{scheme}://{user}:{HIDDEN}{}", &rest[at..]);
        }
    }
    match value.split_once('=') {
        Some((name, _)) if ["secret", "password", "token", "key"].iter().any(|word| name.contains(word)) => {
            format!("{name}={HIDDEN}")
        }
        _ => value.to_owned(),
    }
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
        let value = match self.values.as_slice() {
            [] => return write!(f, "# {} is not set", self.key),
            [one] if !one.starts_with('{') => quoted(one),
            several => format!("[{}]", several.iter().map(|value| quoted(value)).collect::<Vec<_>>().join(", ")),
        };
        write!(f, "{} = {value}  # {}", self.key, self.origin)
    }
}

pub(super) fn effective(
    command: &Command,
    matches: &ArgMatches,
    added: &[&Entry],
    renamed: &HashMap<String, String>,
    file: Option<&Path>,
) -> Vec<Effective> {
    let settings = command.get_arguments().filter(|argument| argument.get_long().is_some());
    let settings = settings.filter(|argument| !matches!(argument.get_id().as_str(), "help" | "version"));
    settings.map(|argument| one(argument, matches, added, renamed, file)).collect()
}

fn one(
    argument: &Arg,
    matches: &ArgMatches,
    added: &[&Entry],
    renamed: &HashMap<String, String>,
    file: Option<&Path>,
) -> Effective {
    let id = argument.get_id().as_str();
    let raw = matches.try_get_raw(id).ok().flatten().into_iter().flatten();
    let values = raw.map(|value| value.to_string_lossy().into_owned()).collect();
    let lines: Vec<usize> = added.iter().filter(|entry| entry.id() == id).map(|entry| entry.line).collect();
    let origin = match (lines.first(), file, matches.value_source(id)) {
        _ if renamed.contains_key(id) => Origin::Environment(renamed[id].clone()),
        (Some(line), Some(file), _) => Origin::File(file.into(), *line),
        (_, _, Some(ValueSource::CommandLine)) => Origin::Flag,
        (_, _, Some(ValueSource::EnvVariable)) => {
            Origin::Environment(argument.get_env().unwrap_or_default().to_string_lossy().into_owned())
        }
        _ => Origin::Default,
    };
    Effective { key: argument.get_long().unwrap_or(id).into(), values, origin, lines }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        for (value, shown) in [
            (
                "postgres://orlop:p@ss:w@db1,db2/orlop?sslmode=require",
                "postgres://orlop:…@db1,db2/orlop?sslmode=require",
            ),
            ("postgres://orlop@db1:5432/orlop", "postgres://orlop@db1:5432/orlop"),
            ("postgres://db1:5432/a@b", "postgres://db1:5432/a@b"),
            ("postgres://db1/orlop?password=p&sslmode=require", "postgres://db1/orlop?password=…&sslmode=require"),
            ("host=db1 password=p user=orlop", "host=db1 password=… user=orlop"),
            ("secret_access_key=abc", "secret_access_key=…"),
            ("region=eu-west-1", "region=eu-west-1"),
            ("/etc/orlop/a=b", "/etc/orlop/a=b"),
        ] {
            assert_eq!(without_secret(value), shown);
        }
    }
}
