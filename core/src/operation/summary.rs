//! What logs and counts say of an operation.

use core::fmt;

use crate::name::Repository;

/// Something that has a text, which is made when it is written.
pub type Written<'a> = &'a (dyn fmt::Display + Sync);

/// What a request is about, in a word: for logs and counts.
#[derive(Clone, Copy)]
pub struct Summary<'a> {
    /// What is done, such as `pull-manifest`: one of a few words.
    pub name: &'static str,
    /// Where.
    pub repository: Option<&'a Repository>,
    /// With what: a tag, a digest, or the id of an upload. Few of those who ask write it.
    pub reference: Option<Written<'a>>,
    /// Whether it changes what the registry holds, once it is done: what an auditor wants to know.
    pub changes: bool,
}

impl Summary<'_> {
    /// Whether its answer is made out of many records: a host bounds how many such answers it makes at once.
    pub fn is_list(&self) -> bool {
        ["list-", "browse-", "search"].iter().any(|begins| self.name.starts_with(begins))
    }

    /// Of a request that is refused as it stands.
    pub const OTHER: Self = Summary { name: "other", repository: None, reference: None, changes: false };
}
