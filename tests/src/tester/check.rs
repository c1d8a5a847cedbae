//! The table of checks: what each is called, what demands it, and how it is done.

use super::exchange::Local;
use super::lab::{Lab, Verdict};

/// How strongly something is demanded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    /// The specification says MUST.
    Must,
    /// The specification says SHOULD.
    Should,
    /// The Docker document describes it, without such words.
    Doc,
    /// No source demands it; clients fare better with it.
    Good,
}

impl Level {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Must => "MUST",
            Self::Should => "SHOULD",
            Self::Doc => "DOC",
            Self::Good => "GOOD",
        }
    }
}

/// A check.
#[derive(Clone, Copy)]
pub struct Check {
    /// The item of `tests/SPEC.md`.
    pub item: &'static str,
    /// How strongly it is demanded.
    pub level: Level,
    /// Who demands it.
    pub source: &'static str,
    /// The function's name: what the check is called on the command line, behind the item.
    pub function: &'static str,
    /// What is checked, as a fact.
    pub fact: &'static str,
    /// Does it.
    pub run: for<'a> fn(&'a Lab) -> Local<'a, Verdict>,
}

impl Check {
    /// What it is called, such as `A1-base-is-there`.
    pub fn id(&self) -> String {
        format!("{}-{}", self.item, self.function.replace('_', "-"))
    }

    /// Whether only the coming version of the OCI specification demands it.
    pub fn is_coming(&self) -> bool {
        self.source.contains("HEAD")
    }

    /// Whether a pattern of the command line means it: part of its id or fact, `*` for anything.
    pub fn is_meant(&self, pattern: &str) -> bool {
        let text = format!("{} {}", self.id(), self.fact).to_lowercase();
        let mut rest = text.as_str();
        pattern.to_lowercase().split('*').all(|part| match rest.find(part) {
            Some(at) => {
                rest = &rest[at + part.len()..];
                true
            }
            None => false,
        })
    }
}

/// Declares checks: `"item" Level "source" function "fact";`
macro_rules! checks {
    ($( $item:literal $level:ident $source:literal $function:ident $fact:literal; )*) => {
        /// The checks of this file.
        pub(super) const CHECKS: &[$crate::tester::check::Check] = &[$( $crate::tester::check::Check {
            item: $item,
            level: $crate::tester::check::Level::$level,
            source: $source,
            function: stringify!($function),
            fact: $fact,
            run: |lab| Box::pin($function(lab)),
        }, )*];
    };
}
pub(crate) use checks;
