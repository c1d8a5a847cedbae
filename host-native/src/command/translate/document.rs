//! The configuration of distribution as a tree: from its YAML file, and from the environment over it.

use std::collections::HashMap;
use std::fmt;

use saphyr_parser::{Event, Parser, ScalarStyle};

/// How many values a file may have, with all that its aliases repeat.
const VALUES: usize = 100_000;

/// How deep values may lie within each other.
const DEPTH: usize = 64;

/// A value, and where it was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

/// Where a value was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In this line of the file, counted from 1.
    Line(usize),
    /// In this variable of the environment.
    Variable(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Variable(name) => f.write_str(name),
        }
    }
}

/// A value. Numbers and truths are kept as they are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// None at all: `key:` with nothing behind it.
    Empty,
    /// One word.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// Keys and values, in their order. Of a key that stands there twice the last one counts.
    Map(Vec<(String, Node)>),
}

impl Node {
    /// The value of a key, if this has keys.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// What is at a path such as `storage.s3.bucket`.
    pub(super) fn at(&self, path: &str) -> Option<&Self> {
        path.split('.').try_fold(self, |node, key| node.get(key))
    }

    /// The text, if it is one.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The elements of a list.
    pub(super) fn elements(&self) -> &[Self] {
        match &self.value {
            Value::List(elements) => elements,
            _ => &[],
        }
    }

    /// The keys and values.
    pub(super) fn entries(&self) -> &[(String, Self)] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }
}

/// Reads a file.
///
/// # Errors
///
/// When it is no YAML, with the line; or no mapping.
pub(super) fn parse(text: &str) -> Result<Node, String> {
    match read(text)? {
        Some(Node { value: Value::Empty, .. }) | None => {
            Ok(Node { place: Place::Line(1), value: Value::Map(Vec::new()) })
        }
        Some(node) if matches!(node.value, Value::Map(_)) => Ok(node),
        Some(_) => Err("it is no mapping of keys and values, as a configuration of distribution is".into()),
    }
}

/// Reads the first document.
fn read(text: &str) -> Result<Option<Node>, String> {
    let mut reading = Reading::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| format!("line {}: {}", error.marker().line(), error.info()))?;
        reading.take(event, Place::Line(span.start.line()));
        if let Some(wrong) = reading.wrong {
            return Err(wrong);
        }
    }
    Ok(reading.whole)
}

/// Values that have begun and not ended.
enum Open {
    List(Vec<Node>),
    /// The entries, and the key that waits for its value.
    Map(Vec<(String, Node)>, Option<String>),
}

#[derive(Default)]
struct Reading {
    open: Vec<(Open, Place, usize)>,
    anchors: HashMap<usize, Node>,
    values: usize,
    whole: Option<Node>,
    wrong: Option<String>,
}

impl Reading {
    fn fails(&mut self, place: &Place, reason: &str) {
        self.wrong.get_or_insert_with(|| format!("{place}: {reason}"));
    }

    fn opens(&mut self, open: Open, place: Place, anchor: usize) {
        if self.open.len() >= DEPTH {
            self.fails(&place, "values lie too deep within each other");
        }
        self.open.push((open, place, anchor));
    }

    fn closes(&mut self) {
        let Some((open, place, anchor)) = self.open.pop() else { return };
        let value = match open {
            Open::List(elements) => Value::List(elements),
            Open::Map(entries, _) => Value::Map(merged(entries)),
        };
        self.adds(Node { place, value }, anchor);
    }

    fn take(&mut self, event: Event<'_>, place: Place) {
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let empty = style == ScalarStyle::Plain && matches!(&*text, "" | "~" | "null");
                let value = if empty { Value::Empty } else { Value::Text(text.into_owned()) };
                self.adds(Node { place, value }, anchor);
            }
            Event::SequenceStart(anchor, _) => self.opens(Open::List(Vec::new()), place, anchor),
            Event::MappingStart(anchor, _) => self.opens(Open::Map(Vec::new(), None), place, anchor),
            Event::SequenceEnd | Event::MappingEnd => self.closes(),
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned() {
                Some(node) => self.adds(Node { place, ..node }, 0),
                None => self.fails(&place, "an alias names what does not come before it"),
            },
            _ => {}
        }
    }

    fn adds(&mut self, node: Node, anchor: usize) {
        self.values += size(&node);
        if self.values > VALUES {
            self.fails(&node.place, "it has too many values");
            return;
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut() {
            // Of several documents the first one counts.
            None => drop(self.whole.get_or_insert(node)),
            Some((Open::List(elements), ..)) => elements.push(node),
            Some((Open::Map(entries, key), ..)) => match (key.take(), node.value) {
                (Some(key), value) => {
                    entries.retain(|(name, _)| *name != key);
                    entries.push((key, Node { place: node.place, value }));
                }
                (None, Value::Text(text)) => *key = Some(text),
                (None, _) => self.fails(&node.place, "a key is no text"),
            },
        }
    }
}

fn size(node: &Node) -> usize {
    match &node.value {
        Value::Empty | Value::Text(_) => 1,
        Value::List(elements) => 1 + elements.iter().map(size).sum::<usize>(),
        Value::Map(entries) => 1 + entries.iter().map(|(_, value)| size(value)).sum::<usize>(),
    }
}

/// The entries, with those of what `<<` names that they do not have themselves.
fn merged(mut entries: Vec<(String, Node)>) -> Vec<(String, Node)> {
    let Some(at) = entries.iter().position(|(key, _)| key == "<<") else { return entries };
    let (_, from) = entries.remove(at);
    let sources = if from.elements().is_empty() { std::slice::from_ref(&from) } else { from.elements() };
    for (key, value) in sources.iter().flat_map(Node::entries) {
        if !entries.iter().any(|(known, _)| known == key) {
            entries.push((key.clone(), value.clone()));
        }
    }
    entries
}

/// Sets what variables of the environment set, as distribution does: `REGISTRY_STORAGE_S3_BUCKET` is
/// `storage.s3.bucket`, an element of a list is named by its number, and what is more exact comes later.
///
/// # Errors
///
/// When a variable cannot be set: it goes into a text, or its number is too high.
pub(super) fn overlay(root: &mut Node, variables: &[(String, String)]) -> Result<(), String> {
    let mut variables: Vec<_> = variables.iter().filter(|(name, _)| name.starts_with("REGISTRY_")).collect();
    variables.sort();
    for (name, text) in variables {
        let path: Vec<&str> = name.split('_').skip(1).collect();
        // What a variable has is YAML too.
        let value = parse_value(text, name)?;
        set(root, &path, value).map_err(|reason| format!("{name}: {reason}"))?;
    }
    Ok(())
}

/// The variables of a file with a line for each, NAME=VALUE, as `docker run --env-file` takes it.
pub fn variables(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().map(str::trim_start).filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once('=')).map(|(name, value)| (name.trim().into(), value.into())).collect()
}

fn parse_value(text: &str, variable: &str) -> Result<Node, String> {
    // The text may be a password, so it is not repeated.
    let read = read(text).map_err(|_| format!("{variable} is no YAML"))?;
    let place = Place::Variable(variable.into());
    let mut node = read.unwrap_or(Node { place: place.clone(), value: Value::Text(text.into()) });
    put(&mut node, &place);
    Ok(node)
}

/// All of it was set there.
fn put(node: &mut Node, place: &Place) {
    node.place = place.clone();
    match &mut node.value {
        Value::List(elements) => elements.iter_mut().for_each(|element| put(element, place)),
        Value::Map(entries) => entries.iter_mut().for_each(|(_, value)| put(value, place)),
        Value::Empty | Value::Text(_) => {}
    }
}

fn set(node: &mut Node, path: &[&str], value: Node) -> Result<(), String> {
    let Some((key, rest)) = path.split_first() else {
        *node = value;
        return Ok(());
    };
    if node.value == Value::Empty || (rest.is_empty() && node.text().is_some()) {
        node.value = Value::Map(Vec::new());
    }
    match &mut node.value {
        Value::Map(entries) => {
            let at = entries.iter().position(|(name, _)| name.to_uppercase() == key.to_uppercase());
            let at = at.unwrap_or_else(|| {
                let list = rest.first().is_some_and(|next| next.parse::<usize>().is_ok());
                let empty = if list { Value::List(Vec::new()) } else { Value::Empty };
                entries.push((key.to_lowercase(), Node { place: value.place.clone(), value: empty }));
                entries.len() - 1
            });
            set(&mut entries[at].1, rest, value)
        }
        Value::List(elements) => {
            let at: usize = key.parse().map_err(|_| format!("`{key}` is no number of an element of a list"))?;
            if at > elements.len() {
                return Err(format!("the list has {} elements, so there is no {at}", elements.len()));
            }
            if at == elements.len() {
                elements.push(Node { place: value.place.clone(), value: Value::Empty });
            }
            set(&mut elements[at], rest, value)
        }
        // `storage: filesystem` is the same as `storage: {filesystem: {}}`.
        Value::Text(_) | Value::Empty => {
            node.value = Value::Map(Vec::new());
            set(node, path, value)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text<'n>(node: &'n Node, path: &str) -> Option<&'n str> {
        node.at(path).and_then(Node::text)
    }

    #[test]
    fn a_file_is_read_with_its_lines() {
        let read =
            parse("version: 0.1\nlog:\n  fields: {a: \"1\"}\nhttp:\n  tls:\n  headers:\n    X: [a, 'b']\n").unwrap();
        assert_eq!(text(&read, "version"), Some("0.1"));
        assert_eq!(text(&read, "log.fields.a"), Some("1"));
        assert_eq!(read.at("http.tls").map(|tls| &tls.value), Some(&Value::Empty));
        let header = read.at("http.headers.X").unwrap();
        assert_eq!((header.elements().len(), &header.place), (2, &Place::Line(7)));
        assert_eq!(parse("# nothing").unwrap().entries(), []);
    }

    #[test]
    fn aliases_and_merges_stand_for_what_they_name() {
        let read = parse("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: *a\nd: 1\nd: 2\n").unwrap();
        assert_eq!((text(&read, "b.x"), text(&read, "b.y"), text(&read, "c.y")), (Some("1"), Some("3"), Some("2")));
        assert_eq!(text(&read, "d"), Some("2"), "the last one counts");
    }

    #[test]
    fn what_is_no_configuration_is_told_with_its_line() {
        for (wrong, expected) in
            [("a: [", "line "), ("- a\n", "no mapping"), ("{a: *b}", "line 1"), ("? [a]\n: b", "a key is no text")]
        {
            let told = parse(wrong).unwrap_err();
            assert!(told.contains(expected), "{wrong}: {told}");
        }
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let before = format!("*a{}, ", level - 1).repeat(10);
            bomb.push_str(&format!("a{level}: &a{level} [{}]\n", before.trim_end_matches(", ")));
        }
        assert!(parse(&bomb).unwrap_err().contains("too many values"));
        assert!(parse(&format!("a: {}", "[".repeat(1000))).is_err());
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let mut read = parse("storage:\n  filesystem:\n    rootdirectory: /a\nhttp: {addr: ':5000'}\n").unwrap();
        let set = [
            ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "/b"),
            ("REGISTRY_HTTP_TLS_CLIENTCAS_0", "/ca.pem"),
            ("REGISTRY_HTTP_HEADERS_X-Y", "[a, b]"),
            ("REGISTRY_NOTIFICATIONS_ENDPOINTS_0_NAME", "ci"),
            ("REGISTRY_NOTIFICATIONS_ENDPOINTS_0_URL", "https://ci.example.com"),
            ("REGISTRY_STORAGE_DELETE_ENABLED", "true"),
            ("OTHER", "x"),
        ];
        overlay(&mut read, &set.map(|(name, value)| (name.to_owned(), value.to_owned()))).unwrap();
        assert_eq!(text(&read, "storage.filesystem.rootdirectory"), Some("/b"));
        assert_eq!(text(&read, "storage.delete.enabled"), Some("true"));
        assert_eq!(text(&read, "http.addr"), Some(":5000"));
        let authorities = read.at("http.tls.clientcas").unwrap();
        assert_eq!(authorities.elements()[0].text(), Some("/ca.pem"));
        let endpoint = &read.at("notifications.endpoints").unwrap().elements()[0];
        assert_eq!((text(endpoint, "name"), text(endpoint, "url")), (Some("ci"), Some("https://ci.example.com")));
        assert_eq!(endpoint.get("url").unwrap().place.to_string(), "REGISTRY_NOTIFICATIONS_ENDPOINTS_0_URL");
        assert_eq!(read.at("http.headers.x-y").unwrap().elements().len(), 2);
        let mut read = parse("http: {tls: {clientcas: [a]}}").unwrap();
        for (name, expected) in
            [("REGISTRY_HTTP_TLS_CLIENTCAS_5", "there is no 5"), ("REGISTRY_HTTP_TLS_CLIENTCAS_X", "`X` is no number")]
        {
            let told = overlay(&mut read, &[(name.into(), "b".into())]).unwrap_err();
            assert!(told.contains(expected), "{told}");
        }
        assert_eq!(
            variables("# a\nREGISTRY_LOG_LEVEL=debug\n\nB=x=y\n"),
            [("REGISTRY_LOG_LEVEL".into(), "debug".into()), ("B".into(), "x=y".into())]
        );
    }
}
