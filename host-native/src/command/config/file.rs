//! The file as a list of entries, each of which could have been a flag.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A setting in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its name as a flag, without the dashes.
    pub(super) key: String,
    /// Its value as a flag takes it.
    pub(super) value: String,
    /// Where it stands, counted from 1.
    pub(super) line: usize,
    /// The table below whose header it stands, as a prefix of its name; empty above all tables.
    pub(super) table: String,
    /// Which value of the file it belongs to: a list makes several entries of one place.
    pub(super) place: usize,
}

impl Entry {
    /// The name by which clap knows it.
    pub(super) fn id(&self) -> String {
        self.key.replace('-', "_")
    }

    /// The entry as a word of a command line.
    pub(super) fn flag(&self) -> String {
        format!("--{}={}", self.key, self.value)
    }
}

/// The entries of a file, or the line that cannot be read and why.
pub(super) fn entries(text: &str) -> Result<Vec<Entry>, (usize, String)> {
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let number = line(text, at);
        let reason = text.lines().nth(number - 1).and_then(unquoted).unwrap_or_else(|| error.message().to_owned());
        (number, reason)
    })?;
    let mut reading = Reading { text, entries: Vec::new() };
    reading.table("", table.get_ref())?;
    reading.entries.sort_by_key(|entry| entry.line);
    Ok(reading.entries)
}

struct Reading<'t> {
    text: &'t str,
    entries: Vec<Entry>,
}

impl Reading<'_> {
    /// `[tls]` with `key = …` is `tls-key`.
    fn table(&mut self, prefix: &str, table: &DeTable<'_>) -> Result<(), (usize, String)> {
        for (key, value) in table {
            let at = key.span().start;
            let key = format!("{prefix}{}", key.get_ref());
            match value.get_ref() {
                DeValue::Table(inner) => self.table(&format!("{key}-"), inner)?,
                DeValue::Array(list) => {
                    for element in list {
                        let line_at = if element.get_ref().is_table() { element.span().start } else { at };
                        self.value(prefix, &key, element, line_at, at)?;
                    }
                }
                _ => self.value(prefix, &key, value, at, at)?,
            }
        }
        Ok(())
    }

    fn value(
        &mut self,
        table: &str,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        at: usize,
        place: usize,
    ) -> Result<(), (usize, String)> {
        let line = line(self.text, at);
        let value = match value.get_ref() {
            DeValue::String(text) => text.clone().into_owned(),
            // One element of a list of tables: as one line of TOML, which a flag takes, too.
            DeValue::Table(_) => inline(value).map_err(|reason| (line, reason))?,
            DeValue::Array(_) => return Err((line, format!("`{key}` is a list inside a list: write one list"))),
            DeValue::Integer(number) => number.to_string(),
            DeValue::Boolean(truth) => truth.to_string(),
            DeValue::Float(_) | DeValue::Datetime(_) => {
                return Err((line, format!("`{key}` is text in quotes or a whole number, not a fraction or a date")));
            }
        };
        self.entries.push(Entry { key: key.into(), value, line, table: table.into(), place });
        Ok(())
    }
}

/// A value as TOML on one line.
fn inline(value: &Spanned<DeValue<'_>>) -> Result<String, String> {
    let deserializer = toml::de::ValueDeserializer::from(value.clone());
    let value: toml::Value =
        serde::Deserialize::deserialize(deserializer).map_err(|error| error.message().to_owned())?;
    Ok(value.to_string())
}

/// What to write instead of a line whose text has no quotes.
fn unquoted(line: &str) -> Option<String> {
    let (key, value) = line.split_once('=')?;
    let (key, value) = (key.trim(), value.split(" #").next()?.trim());
    if value.is_empty() {
        return Some(format!("`{key}` has no value: write {key} = \"…\", or remove the line"));
    }
    let quoted = |word: &str| word.starts_with(['"', '\'', '[', '{', '#']) || matches!(word, "true" | "false");
    let bare = |word: &&str| !word.is_empty() && !quoted(word) && word.parse::<f64>().is_err();
    match value.strip_prefix('[') {
        Some(list) => {
            let word = list.trim_end_matches(']').split(',').map(str::trim).find(bare)?;
            Some(format!("text stands in quotes: write \"{word}\" instead of {word}"))
        }
        None => bare(&value).then(|| format!("text stands in quotes: write {key} = \"{value}\"")),
    }
}

/// The number of the line of a byte, counted from 1.
fn line(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}
