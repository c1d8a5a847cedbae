//! Settings: from flags, the environment and one TOML file, in this order of precedence, over the defaults.
//!
//! Each setting is declared once, as a flag of the [command line](crate::command::cli): `--tls-key FILE` is `ORLOP_TLS_KEY` in
//! the environment and `key` under `[tls]` in the file (or `tls-key` above all tables). A file is read into flags, so
//! that a value is checked in one way wherever it stands; what a file says wrong is told with its line.

mod error;
mod file;
mod origin;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgMatches, Command, CommandFactory, FromArgMatches};

pub use self::error::ConfigError;
use self::file::Entry;
pub use self::origin::{Effective, Origin};
use crate::command::cli::Cli;
use crate::settings::Settings;

/// Where the file is looked for when none is named. It need not be there.
pub const USUAL: &str = "/etc/orlop/orlop.toml";

/// A command line as it was given, which can be read again when its file has changed.
#[derive(Clone, Debug)]
pub struct CommandLine {
    given: Vec<OsString>,
}

/// A command line together with what the file adds to it.
#[derive(Debug)]
pub struct Loaded {
    /// The command and its settings.
    pub cli: Cli,
    /// Every setting of the command, and where its value comes from.
    pub effective: Vec<Effective>,
    /// The file that was read.
    pub file: Option<PathBuf>,
}

impl CommandLine {
    /// Of this process.
    pub fn of_process() -> Self {
        Self { given: std::env::args_os().collect() }
    }

    /// These words, the first of which is the name of the program.
    pub fn of(words: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        Self { given: words.into_iter().map(Into::into).collect() }
    }

    /// Reads the command line, and the file for what the command line and the environment leave open.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, names a setting that does not exist, or has a value that cannot be; and what clap
    /// says of the command line.
    pub fn load(&self) -> Result<Loaded, ConfigError> {
        let whole = Cli::command();
        let matches = whole.clone().try_get_matches_from(&self.given)?;
        let (path, command, leaf) = leaf(&whole, &matches);
        let file = match leaf.try_get_one::<String>("config").ok().flatten() {
            // An empty name is how the usual file is left alone.
            Some(named) if named.is_empty() => None,
            Some(named) => Some(named.into()),
            None => Some(PathBuf::from(USUAL)).filter(|usual| has(command, "config") && usual.exists()),
        };
        let entries = file.as_deref().map(read).transpose()?.unwrap_or_default();
        let open = |entry: &&Entry| {
            let source = leaf.value_source(&entry.id());
            has(command, &entry.id()) && !matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable))
        };
        let added: Vec<&Entry> = entries.iter().filter(open).collect();
        let mut words = self.given.clone();
        words.splice(1 + path..1 + path, added.iter().map(|entry| OsString::from(entry.flag())));
        let matches = whole.clone().try_get_matches_from(&words)?;
        let cli = Cli::from_arg_matches(&matches)?;
        let (_, command, leaf) = self::leaf(&whole, &matches);
        let effective = origin::effective(command, leaf, &added, file.as_deref());
        Ok(Loaded { cli, effective, file })
    }
}

/// Reads a file and holds each of its entries against what there is to set.
fn read(path: &Path) -> Result<Vec<Entry>, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable(path.into(), error))?;
    let wrong = |line, reason| ConfigError::in_file(path, &text, line, reason);
    let entries = file::entries(&text).map_err(|(line, reason)| wrong(line, reason))?;
    let settings = Settings::command();
    for entry in &entries {
        if !has(&settings, &entry.id()) || entry.id() == "config" {
            return Err(wrong(entry.line, unknown(&settings, entry)));
        }
        let tried = settings.clone().try_get_matches_from(["orlop".into(), entry.flag()]);
        tried.map_err(|error| wrong(entry.line, format!("`{}`: {}", entry.key, error::reason(&error))))?;
    }
    if let Some((again, first)) = entries.iter().find_map(|entry| {
        let mut others = entries.iter().filter(|other| other.key == entry.key && other.place != entry.place);
        others.find(|other| other.line > entry.line).map(|other| (other, entry))
    }) {
        return Err(wrong(again.line, format!("`{}` is set in line {} already", again.key, first.line)));
    }
    Ok(entries)
}

/// What to say of a key that is none.
fn unknown(settings: &Command, entry: &Entry) -> String {
    let known: Vec<&str> =
        settings.get_arguments().filter_map(clap::Arg::get_long).filter(|k| *k != "config").collect();
    let alike = |known: &&&str| error::distance(known, &entry.key) <= 2 || known.ends_with(&format!("-{}", entry.key));
    match known.iter().find(alike) {
        Some(meant) => format!("there is no setting `{}`; did you mean `{meant}`?", entry.key),
        None => format!("there is no setting `{}`; there are: {}", entry.key, known.join(", ")),
    }
}

fn has(command: &Command, id: &str) -> bool {
    command.get_arguments().any(|argument| argument.get_id() == id)
}

/// The subcommand that was called, how many words name it, and what it was given.
fn leaf<'c, 'm>(whole: &'c Command, matches: &'m ArgMatches) -> (usize, &'c Command, &'m ArgMatches) {
    let (mut words, mut command, mut leaf) = (0, whole, matches);
    while let Some((name, inner)) = leaf.subcommand() {
        let Some(found) = command.find_subcommand(name) else { break };
        (words, command, leaf) = (words + 1, found, inner);
    }
    (words, command, leaf)
}

#[cfg(test)]
mod tests;
