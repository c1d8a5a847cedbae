//! The configuration file that is written.

use std::fmt::Write as _;

use super::{Answer, Kind};

/// How wide a line of a comment is.
const WIDE: usize = 110;

/// Settings in the order of the file: those above all tables, then the tables.
#[derive(Debug, Default)]
pub(super) struct Lines {
    top: Vec<Line>,
    tables: Vec<Table>,
}

#[derive(Debug)]
struct Line {
    why: String,
    text: String,
}

#[derive(Debug)]
struct Table {
    header: String,
    why: String,
    lines: Vec<Line>,
}

impl Lines {
    /// Adds `key = value` above all tables, with a comment that says where it comes from.
    pub(super) fn top(&mut self, key: &str, value: impl Into<toml::Value>, why: &str) {
        self.top.push(Line { why: why.into(), text: assigned(key, value) });
    }

    /// Adds `key = value` to `[table]`.
    pub(super) fn table(&mut self, table: &str, key: &str, value: impl Into<toml::Value>, why: &str) {
        let line = Line { why: why.into(), text: assigned(key, value) };
        let header = format!("[{table}]");
        match self.tables.iter_mut().find(|table| table.header == header) {
            Some(table) => table.lines.push(line),
            None => self.tables.push(Table { header, why: String::new(), lines: vec![line] }),
        }
    }

    /// Adds an element of `[[table]]` with these keys.
    pub(super) fn element(&mut self, table: &str, entries: Vec<(&str, toml::Value)>, why: &str) {
        let lines = entries.into_iter().map(|(key, value)| Line { why: String::new(), text: assigned(key, value) });
        self.tables.push(Table { header: format!("[[{table}]]"), why: why.into(), lines: lines.collect() });
    }

    /// The whole file, with all that was not taken in comments at its end.
    pub(super) fn file(&self, answers: &[Answer], to_do: &[String]) -> String {
        let mut file = String::from(
            "# The configuration of Orlop, as `orlop import config` has made it of one of distribution's. orlop.toml(5)\n\
             # describes all settings; `orlop config check` says whether the server would start with them.\n",
        );
        if !to_do.is_empty() {
            file.push_str("#\n# To be done before:\n");
            to_do.iter().for_each(|what| comment(&mut file, "# - ", "#   ", what));
        }
        for line in &self.top {
            file.push('\n');
            line.write(&mut file);
        }
        for Table { header, why, lines } in &self.tables {
            file.push('\n');
            if !why.is_empty() {
                comment(&mut file, "# ", "# ", why);
            }
            let _ = writeln!(file, "{header}");
            lines.iter().for_each(|line| line.write(&mut file));
        }
        let settings = file.replace("\n#", "");
        for (kind, heading) in [
            (Kind::Unknown, "Keys that distribution does not know either:"),
            (Kind::Unsupported, "Not supported; what to do instead:"),
            (Kind::NotNeeded, "Not needed:"),
            (Kind::Taken, "Taken, beside those that are named above the settings:"),
        ] {
            let is_told = |answer: &Answer| kind == Kind::Taken && settings.contains(&format!(" {} (", answer.key));
            let mut of_kind = answers.iter().filter(|answer| answer.kind == kind && !is_told(answer)).peekable();
            if of_kind.peek().is_some() {
                let _ = writeln!(file, "\n# {heading}");
                of_kind.for_each(|answer| comment(&mut file, "# - ", "#   ", &answer.to_string()));
            }
        }
        file
    }
}

impl Line {
    fn write(&self, file: &mut String) {
        if !self.why.is_empty() {
            comment(file, "# ", "# ", &self.why);
        }
        let _ = writeln!(file, "{}", self.text);
    }
}

fn assigned(key: &str, value: impl Into<toml::Value>) -> String {
    format!("{key} = {}", on_one_line(&value.into()))
}

/// A value on one line, whatever is in it.
fn on_one_line(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => {
            let mut quoted = String::from('"');
            for c in text.chars() {
                match c {
                    '"' | '\\' => quoted.extend(['\\', c]),
                    c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
                    c => quoted.push(c),
                }
            }
            quoted + "\""
        }
        toml::Value::Array(elements) => {
            format!("[{}]", elements.iter().map(on_one_line).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// Writes text as comments, broken between words. What comes of the file's own text cannot end a comment.
fn comment(file: &mut String, first: &str, next: &str, text: &str) {
    let mut begin = first;
    for paragraph in text.lines() {
        wrap(file, begin, next, paragraph);
        begin = next;
    }
}

fn wrap(file: &mut String, first: &str, next: &str, text: &str) {
    let (mut line, mut begin) = (String::new(), first);
    for word in text.split_whitespace() {
        if !line.is_empty() && begin.len() + line.len() + 1 + word.len() > WIDE {
            let _ = writeln!(file, "{begin}{line}");
            line.clear();
            begin = next;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.extend(word.chars().filter(|c| !c.is_control()));
    }
    let _ = writeln!(file, "{begin}{line}");
}
