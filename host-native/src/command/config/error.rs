//! What is wrong with the settings: where, what, and what to write instead.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{fmt, io};

use clap::error::{ContextKind, ContextValue};

/// Why there are no settings.
#[derive(Debug)]
pub enum ConfigError {
    /// The command line is wrong, or asks for help.
    CommandLine(clap::Error),
    /// The file cannot be read.
    Unreadable(PathBuf, io::Error),
    /// Something in the file is wrong.
    InFile {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What stands there.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl ConfigError {
    pub(super) fn in_file(path: &Path, whole: &str, line: usize, reason: String) -> Self {
        let text = whole.lines().nth(line - 1).unwrap_or_default().to_owned();
        Self::InFile { path: path.into(), line, text, reason }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommandLine(error) => error.fmt(f),
            Self::Unreadable(path, error) => {
                write!(f, "the configuration file {} cannot be read: {error}", path.display())
            }
            Self::InFile { path, line, text, reason } => {
                write!(f, "{}, line {line}: {reason}\n{line:>6} | {text}", path.display())
            }
        }
    }
}

impl Error for ConfigError {}

impl From<clap::Error> for ConfigError {
    fn from(error: clap::Error) -> Self {
        Self::CommandLine(error)
    }
}

/// What clap found wrong with a value, without what it says of command lines.
pub(super) fn reason(error: &clap::Error) -> String {
    let allowed = match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(values)) if !values.is_empty() => format!("; there are: {}", values.join(", ")),
        _ => String::new(),
    };
    let value = match error.get(ContextKind::InvalidValue) {
        // A table stands in the file over several lines; which of its keys is wrong, the reason says.
        Some(ContextValue::String(value)) if value.starts_with('{') => None,
        Some(ContextValue::String(value)) => Some(format!("`{value}` is not valid")),
        _ => Some("this value is not valid".into()),
    };
    let reason = [value, error.source().map(ToString::to_string)];
    reason.into_iter().flatten().collect::<Vec<_>>().join(": ") + &allowed
}

/// How many letters must change to make one word of another.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, letter) in one.chars().enumerate() {
        let mut above = row[0];
        row[0] = i + 1;
        for (j, theirs) in other.iter().enumerate() {
            let changed = above + usize::from(letter != *theirs);
            above = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(above + 1);
        }
    }
    row[other.len()]
}

/// The name that was meant by another: the nearest, if one is near.
pub(super) fn nearest<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let near = known.into_iter().map(|known| (distance(known, name), known)).filter(|(letters, _)| *letters <= 2);
    near.min_by_key(|(letters, _)| *letters).map(|(_, known)| known)
}
