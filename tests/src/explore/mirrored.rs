//! What mirrors are held against: the registries that they stand in front of.
//!
//! What a mirror keeps is no promise to anybody: it fetches again what it has lost. So the orders of the calls say what
//! clients are answered, and not what is left in its repositories. What is left there must be something that the upstream
//! has, or has had while the calls were made.

use std::collections::BTreeSet;

use bytes::Bytes;
use orlop_core::Config;
use orlop_core::memory::Memory;

/// What goes wrong between a mirror and its upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The upstream says that it does not have it.
    Absent,
    /// It refuses it.
    Denied,
    /// It has been asked too often.
    Paused,
    /// It cannot be reached.
    Failed,
    /// It sends something else.
    Lies,
    /// The connection breaks in the middle of a blob.
    Breaks,
}

impl Trouble {
    /// All that can happen to an effect.
    pub(super) fn of(effect: &str) -> &'static [Self] {
        use Trouble::{Absent, Breaks, Denied, Failed, Lies, Paused};
        match effect {
            "Fetch" => &[Absent, Denied, Paused, Failed, Lies, Breaks],
            "Inquire" | "Relay" => &[Absent, Denied, Paused, Failed, Lies],
            _ => &[],
        }
    }
}

/// The same number of bytes, and others.
pub(super) fn altered(bytes: &Bytes) -> Bytes {
    bytes.iter().map(|byte| byte ^ 1).collect()
}

/// The repositories of mirrors, and what their upstreams have had.
#[derive(Clone, Debug, Default)]
pub(super) struct Mirrored {
    prefixes: Vec<String>,
    had: BTreeSet<String>,
}

impl Mirrored {
    /// The repositories of these mirrors.
    pub(super) fn by(config: &Config) -> Self {
        Self { prefixes: config.mirrors.iter().map(|mirror| mirror.prefix.clone()).collect(), had: BTreeSet::new() }
    }

    /// Takes down what all upstreams have at this moment.
    pub(super) fn take_down(&mut self, memory: &Memory) {
        for upstream in memory.upstreams.values() {
            for (key, value) in &upstream.memory.records {
                let Some((family, rest)) = key.as_str().split_once('/') else { continue };
                for prefix in &self.prefixes {
                    self.had.insert(entry(family, &format!("{prefix}{rest}"), value));
                }
            }
        }
    }

    /// Whether what begins with the name of a repository is of one that mirrors another.
    pub(super) fn is_of(&self, name: &str) -> bool {
        self.prefixes.iter().any(|prefix| name.starts_with(prefix))
    }

    /// Whether an upstream has had what a record stands for.
    pub(super) fn has_had(&self, family: &str, name: &str, value: &[u8]) -> bool {
        self.had.contains(&entry(family, name, value))
    }
}

/// A record as text that is the same on both sides: of a tag, with what it names.
fn entry(family: &str, name: &str, value: &[u8]) -> String {
    let record: serde_json::Value = serde_json::from_slice(value).unwrap_or_default();
    match family {
        "tag" => format!("{family}/{name} = {}", record["digest"].as_str().unwrap_or_default()),
        _ => format!("{family}/{name}"),
    }
}
