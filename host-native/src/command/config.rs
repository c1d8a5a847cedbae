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
pub use self::origin::{Effective, Origin, places_of_rules, with_places};
use crate::command::cli::Cli;
use crate::settings::Settings;

/// Where the file is looked for when none is named. It need not be there.
pub const USUAL: &str = "/etc/orlop/orlop.toml";

/// A command line as it was given, which can be read again when its file has changed.
#[derive(Clone, Debug)]
pub struct CommandLine {
    given: Vec<OsString>,
    /// The variables of the environment that begin with `ORLOP_`.
    environment: Vec<(String, OsString)>,
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
    /// What is probably a mistake, though it is not an error.
    pub warnings: Vec<String>,
}

impl CommandLine {
    /// Of this process.
    pub fn of_process() -> Self {
        let environment = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        let environment = environment.filter(|(name, _)| name.starts_with("ORLOP_")).collect();
        Self { given: std::env::args_os().collect(), environment }
    }

    /// These words, the first of which is the name of the program.
    pub fn of(words: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        Self { given: words.into_iter().map(Into::into).collect(), environment: Vec::new() }
    }

    /// Reads the command line, and the file for what the command line and the environment leave open.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, names a setting that does not exist, or has a value that cannot be; and what clap
    /// says of the command line.
    pub fn load(&self) -> Result<Loaded, ConfigError> {
        let whole = brief(Cli::command());
        let matches = whole.clone().try_get_matches_from(&self.given)?;
        let (path, command, leaf) = leaf(&whole, &matches);
        let file = match leaf.try_get_one::<String>("config").ok().flatten() {
            // An empty name is how the usual file is left alone.
            Some(named) if named.is_empty() => None,
            Some(named) => Some(named.into()),
            None => Some(PathBuf::from(USUAL)).filter(|usual| has(command, "config") && usual.exists()),
        };
        let entries = file.as_deref().map(read).transpose()?.unwrap_or_default();
        let given =
            |id: &str| matches!(leaf.value_source(id), Some(ValueSource::CommandLine | ValueSource::EnvVariable));
        let renamed = renamed(command, &self.environment);
        let renamed: Vec<_> = renamed.into_iter().filter(|(id, ..)| !given(id)).collect();
        let open = |id: &str| has(command, id) && !given(id) && !renamed.iter().any(|(renamed, ..)| renamed == id);
        let added: Vec<&Entry> = entries.iter().filter(|entry| open(&entry.id())).collect();
        let flags = added.iter().map(|entry| OsString::from(entry.flag()));
        let flags: Vec<_> = flags.chain(renamed.iter().map(|(.., flag)| flag.clone())).collect();
        let mut words = self.given.clone();
        words.splice(1 + path..1 + path, flags);
        let matches = whole.clone().try_get_matches_from(&words)?;
        let cli = Cli::from_arg_matches(&matches)?;
        let (_, command, leaf) = self::leaf(&whole, &matches);
        let renamed = renamed.into_iter().map(|(id, variable, _)| (id, variable)).collect();
        let effective = origin::effective(command, leaf, &added, &renamed, file.as_deref());
        Ok(Loaded { cli, effective, file, warnings: unknown_variables(&self.environment) })
    }
}

/// What serves alone, as the help calls it. Other verbs take it too, since it is in the file that they read.
const OF_SERVERS: [&str; 11] = [
    "Service",
    "Content",
    "Connections and requests",
    "How clients reach the registry",
    "Access control",
    "LDAP",
    "TLS",
    "Limits for each client",
    "Monitoring",
    "Mirrors",
    "Other registries",
];

/// The verbs that take all settings of a server and are none, and which of these they use all the same.
const OTHERS: [(&str, &[&str]); 14] = [
    ("activity", &[]),
    ("status", &[]),
    ("list", &[]),
    ("search", &[]),
    ("show", &[]),
    ("compare", &[]),
    ("deleted", &["undelete_within"]),
    ("delete", &["undelete_within"]),
    ("undelete", &["undelete_within"]),
    ("purge", &["undelete_within"]),
    ("protect", &[]),
    ("unprotect", &[]),
    ("retention", &["retention", "retention_interval", "undelete_within"]),
    ("usage", &["quota"]),
];

/// The command line whose help shows of each verb what it uses.
fn brief(whole: Command) -> Command {
    fn hidden(command: Command, used: &[&str]) -> Command {
        let shown = command.mut_args(|argument| {
            let of_servers = argument.get_help_heading().is_some_and(|heading| OF_SERVERS.contains(&heading));
            let hide = of_servers && !used.contains(&argument.get_id().as_str());
            if hide { argument.hide(true) } else { argument }
        });
        shown.mut_subcommands(|command| hidden(command, used))
    }
    OTHERS.into_iter().fold(whole, |whole, (verb, used)| whole.mut_subcommand(verb, |command| hidden(command, used)))
}

/// The variable that sets a setting under a name that it had before.
fn variable(alias: &str) -> String {
    format!("ORLOP_{}", alias.replace('-', "_").to_uppercase())
}

/// The settings that the environment sets under names that they had before: id, variable, and the flag of today.
fn renamed(command: &Command, environment: &[(String, OsString)]) -> Vec<(String, String, OsString)> {
    let mut found = Vec::new();
    for argument in command.get_arguments() {
        for alias in argument.get_all_aliases().unwrap_or_default() {
            let name = variable(alias);
            let set = environment.iter().find(|(variable, _)| *variable == name);
            if let (Some((_, value)), Some(long)) = (set, argument.get_long()) {
                let mut flag = OsString::from(format!("--{long}="));
                flag.push(value);
                found.push((argument.get_id().to_string(), name, flag));
            }
        }
    }
    found
}

/// Warnings of variables that look like settings and are none.
fn unknown_variables(environment: &[(String, OsString)]) -> Vec<String> {
    let settings = Settings::command();
    let mut known: Vec<String> =
        settings.get_arguments().filter_map(|a| Some(a.get_env()?.to_string_lossy().into_owned())).collect();
    let aliases = settings.get_arguments().filter_map(clap::Arg::get_all_aliases).flatten();
    known.extend(aliases.map(variable));
    let unknown = environment.iter().map(|(name, _)| name).filter(|name| name.starts_with("ORLOP_"));
    let unknown = unknown.filter(|name| !known.contains(name));
    let warned = unknown.map(|name| match error::nearest(name, known.iter().map(String::as_str)) {
        Some(meant) => format!("the environment sets {name}, which is not a setting; did you mean {meant}?"),
        None => format!("the environment sets {name}, which is not a setting; `orlop config show` lists all"),
    });
    warned.collect()
}

/// Reads a file and holds each of its entries against what there is to set.
fn read(path: &Path) -> Result<Vec<Entry>, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable(path.into(), error))?;
    let wrong = |line, reason| ConfigError::in_file(path, &text, line, reason);
    let mut entries = file::entries(&text).map_err(|(line, reason)| wrong(line, reason))?;
    let settings = Settings::command();
    for entry in &mut entries {
        let argument = settings
            .get_arguments()
            .find(|argument| argument.get_all_aliases().unwrap_or_default().contains(&entry.key.as_str()));
        if let Some(today) = argument.and_then(clap::Arg::get_long) {
            today.clone_into(&mut entry.key);
        }
    }
    for entry in &entries {
        if !has(&settings, &entry.id()) || entry.id() == "config" {
            return Err(wrong(entry.line, unknown(&settings, entry)));
        }
        let tried = settings.clone().try_get_matches_from(["orlop".into(), entry.flag()]);
        tried.map_err(|error| {
            let reason = error::reason(&error);
            wrong(line_of(&text, entry, &reason), format!("`{}`: {reason}{}", entry.key, misplaced(&settings, &reason)))
        })?;
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
    let (key, table) = (&entry.key, entry.table.trim_end_matches('-'));
    let inner = key.strip_prefix(&entry.table).unwrap_or(key);
    if !table.is_empty() && known.contains(&inner) {
        return format!(
            "there is no setting `{key}`: `{inner}` stands below [{table}], which makes it `{key}`; move it above the first \
             table"
        );
    }
    let ends = |known: &&&str| known.ends_with(&format!("-{inner}"));
    let meant = error::nearest(key, known.iter().copied()).or(known.iter().find(ends).copied());
    match meant {
        Some(meant) => format!("there is no setting `{key}`; did you mean `{meant}`?"),
        None => format!("there is no setting `{key}`; there are: {}", known.join(", ")),
    }
}

/// What to say of a key of a table that is a setting of its own: it stands below the wrong header.
fn misplaced(settings: &Command, reason: &str) -> String {
    let key = reason.split_once("unknown field `").and_then(|(_, rest)| rest.split('`').next());
    match key.filter(|key| has(settings, &key.replace('-', "_"))) {
        Some(key) => format!("; `{key}` is a setting of its own: move it above the first table"),
        None => String::new(),
    }
}

/// The line of the key that a reason names first, if the entry is a table that has it on a line of its own.
fn line_of(text: &str, entry: &Entry, reason: &str) -> usize {
    let Some(key) = reason.split('`').nth(1).filter(|key| !key.is_empty()) else { return entry.line };
    let below = text.lines().enumerate().skip(entry.line).take_while(|(_, line)| !line.trim_start().starts_with('['));
    let is_key =
        |line: &str| line.trim_start().strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('='));
    let header = text.lines().nth(entry.line - 1).is_some_and(|line| line.trim_start().starts_with("[["));
    below.into_iter().find(|(_, line)| header && is_key(line)).map_or(entry.line, |(at, _)| at + 1)
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
