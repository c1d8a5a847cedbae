//! The configuration of distribution, Docker's registry, as one of Orlop: `orlop import config`.
//!
//! Each key that is set is answered for: it is taken, not needed, not supported, or unknown. `keys.rs` has the table of all
//! of them, and `settings.rs` what is written for those that are taken.

mod document;
mod keys;
mod settings;
#[cfg(test)]
mod tests;
mod written;

use std::fmt;

pub use self::document::variables;
use self::document::{Node, Value};
use self::written::Lines;

/// What becomes of a key of distribution's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is this setting of Orlop's.
    Taken(&'static str),
    /// Nothing has to be set for it, for this reason.
    NotNeeded(&'static str),
    /// Orlop has no such setting, and this is to be done instead.
    Unsupported(&'static str),
}

/// How a key is answered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// By a setting of Orlop's.
    Taken,
    /// By a reason for which nothing has to be set.
    NotNeeded,
    /// By what is to be done instead.
    Unsupported,
    /// Distribution knows no such key.
    Unknown,
}

/// A key that is set, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The key, such as `http.addr`.
    pub key: String,
    /// Where it is set: a line of the file or a variable of the environment.
    pub place: String,
    /// How it is answered for.
    pub kind: Kind,
    /// The setting of Orlop's, the reason, or what to do.
    pub told: String,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.key, self.place, self.told)
    }
}

/// A configuration that was translated.
#[derive(Debug)]
pub struct Translation {
    /// The configuration file of Orlop.
    pub toml: String,
    /// What becomes of each key that is set, in the order of the file.
    pub answers: Vec<Answer>,
    /// What is left to be done by hand before the server starts.
    pub to_do: Vec<String>,
}

/// Translates a configuration file of distribution's, with variables of the environment over it. No secret of it is in what
/// this returns.
///
/// # Errors
///
/// When the file is no YAML, is of a version that is not known, or a variable cannot be set.
pub fn translate(text: &str, environment: &[(String, String)]) -> Result<Translation, String> {
    let mut root = document::parse(text)?;
    document::overlay(&mut root, environment)?;
    match root.get("version").map(|version| version.text().unwrap_or_default()) {
        Some("0.1") => {}
        Some(other) => {
            return Err(format!("the configuration has the version `{other}`; distribution knows 0.1 alone"));
        }
        None => return Err("it has no `version: 0.1`, as each configuration of distribution has".into()),
    }
    let mut translating = Translating { root: &root, lines: Lines::default(), changed: Vec::new(), to_do: Vec::new() };
    translating.all();
    let answers = translating.answers();
    let Translating { lines, to_do, .. } = translating;
    Ok(Translation { toml: lines.file(&answers, &to_do), answers, to_do })
}

/// A configuration on its way.
struct Translating<'n> {
    root: &'n Node,
    lines: Lines,
    /// Keys whose value makes another fate of them than the table has.
    changed: Vec<(String, Kind, String)>,
    to_do: Vec<String>,
}

impl Translating<'_> {
    /// Says of a key that its value makes another fate of it.
    fn change(&mut self, key: &str, kind: Kind, told: &str) {
        self.changed.push((key.into(), kind, told.into()));
    }

    /// All keys that are set.
    fn answers(&self) -> Vec<Answer> {
        let mut answers = Vec::new();
        self.answer(self.root, &mut Vec::new(), &mut answers);
        answers
    }

    fn answer(&self, node: &Node, path: &mut Vec<String>, answers: &mut Vec<Answer>) {
        let parts: Vec<&str> = path.iter().map(String::as_str).collect();
        let key = parts.join(".");
        let mut add = |kind: Kind, told: String| {
            answers.push(Answer { key: key.clone(), place: node.place.to_string(), kind, told });
        };
        let changed = self.changed.iter().find(|(changed, ..)| *changed == key);
        if let Some((_, kind, told)) = changed {
            return add(*kind, told.clone());
        }
        match (keys::fate(&parts), &node.value) {
            (Some(Fate::Taken(setting)), _) => add(Kind::Taken, setting.into()),
            (Some(Fate::NotNeeded(reason)), _) => add(Kind::NotNeeded, reason.into()),
            (Some(Fate::Unsupported(cure)), _) => add(Kind::Unsupported, cure.into()),
            (None, _) if !keys::leads_on(&parts) => add(Kind::Unknown, "distribution has no such key".into()),
            (None, Value::Empty) => add(Kind::NotNeeded, "it has nothing in it".into()),
            // `storage: filesystem` names the driver alone.
            (None, Value::Text(name)) => match keys::leads_on(&[parts.as_slice(), &[name]].concat()) {
                true => add(Kind::NotNeeded, "it names a driver without parameters".into()),
                false => add(Kind::Unknown, "it is a list or table there, not a word".into()),
            },
            (None, Value::List(elements)) => {
                for (place, element) in elements.iter().enumerate() {
                    path.push(place.to_string());
                    self.answer(element, path, answers);
                    path.pop();
                }
            }
            (None, Value::Map(entries)) => {
                for (key, value) in entries {
                    path.push(key.clone());
                    self.answer(value, path, answers);
                    path.pop();
                }
            }
        }
    }
}
