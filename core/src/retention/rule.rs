//! Rules as an operator writes them.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use semver::VersionReq;

use super::version;
use crate::config::PULLED_COARSELY;
use crate::name::{Repository, Tag};
use crate::pattern::Pattern;

/// A rule of retention.
///
/// Tags go by it when it says which ones stay: by [`keep_last`](Self::keep_last),
/// [`keep_pushed_within`](Self::keep_pushed_within) or [`keep_pulled_within`](Self::keep_pulled_within). Without these it
/// keeps and deletes no tag.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// What it is called.
    pub name: String,
    /// The repositories it is about; at least one pattern.
    pub repositories: Vec<Pattern>,
    /// The tags it is about; none is all.
    pub tags: Vec<Pattern>,
    /// It is about tags that are versions in this range alone.
    pub semver: Option<VersionReq>,
    /// So many of these tags stay, the newest: those of the highest versions where there is a range, else those that were
    /// pushed last. What is as new as the last of them stays as well.
    pub keep_last: Option<u32>,
    /// Of these tags stay those that were pushed less long ago.
    pub keep_pushed_within: Option<Duration>,
    /// Of these tags stay those that were pushed or pulled less long ago.
    pub keep_pulled_within: Option<Duration>,
    /// These tags of the repositories stay, whatever any rule says.
    pub keep: Vec<Pattern>,
    /// What no tag needs goes once that is so for so long, and it was not pulled since.
    pub untagged_after: Option<Duration>,
}

/// The shortest time within which pulls keep: they are known to the hour.
const SHORTEST_PULLED: Duration = PULLED_COARSELY.saturating_mul(2);

/// Checks rules each by itself and beside the others.
///
/// # Errors
///
/// With the name of the first rule that cannot be meant, what is wrong with it, and what to do.
pub fn check(rules: &[Rule]) -> Result<(), String> {
    let mut names = BTreeSet::new();
    for rule in rules {
        rule.check().map_err(|reason| format!("the retention rule `{}`: {reason}", rule.name))?;
        if !names.insert(rule.name.as_str()) {
            return Err(format!("two retention rules are called `{}`: give each a name of its own", rule.name));
        }
    }
    Ok(())
}

impl Rule {
    /// Whether tags go by it.
    pub fn judges(&self) -> bool {
        self.keep_last.is_some() || self.keep_pushed_within.is_some() || self.keep_pulled_within.is_some()
    }

    /// Whether it is about a repository.
    pub fn is_about(&self, name: &Repository) -> bool {
        self.repositories.iter().any(|pattern| pattern.matches(name))
    }

    /// Whether it is about a tag, and tags go by it.
    pub(crate) fn covers(&self, tag: &Tag) -> bool {
        let named = self.tags.is_empty() || self.tags.iter().any(|pattern| pattern.matches_tag(tag));
        let within =
            || self.semver.as_ref().is_none_or(|range| version(tag.as_str()).is_some_and(|v| range.matches(&v)));
        self.judges() && named && within()
    }

    /// The pattern by which it keeps a tag whatever other rules say.
    pub(super) fn keeps(&self, tag: &Tag) -> Option<&Pattern> {
        self.keep.iter().find(|pattern| pattern.matches_tag(tag))
    }

    /// Checks the rule by itself.
    ///
    /// # Errors
    ///
    /// With what is wrong with it, and what to do.
    pub fn check(&self) -> Result<(), String> {
        const CRITERIA: &str = "keep-last, keep-pushed-within or keep-pulled-within";
        if self.repositories.is_empty() {
            return Err("`repositories` is empty: name some, or write [\"**\"] for all".into());
        }
        let empty = [&self.repositories, &self.tags, &self.keep].into_iter().flatten();
        if empty.into_iter().any(|pattern| pattern.as_str().is_empty()) {
            return Err("it has an empty pattern, which matches nothing: leave it out".into());
        }
        if !self.judges() {
            if !self.tags.is_empty() || self.semver.is_some() {
                return Err(format!(
                    "`tags` and `semver` say which tags may go, and nothing says which stay: set {CRITERIA}"
                ));
            }
            if self.keep.is_empty() && self.untagged_after.is_none() {
                return Err(format!("it says nothing of what is kept: set {CRITERIA}, keep, or untagged-after"));
            }
        }
        if self.keep_last == Some(0) {
            return Err("keep-last = 0 keeps nothing: write 1 or more, or leave it out".into());
        }
        if self.keep_pushed_within == Some(Duration::ZERO) {
            return Err("keep-pushed-within = 0 keeps nothing: write a time such as 30d, or leave it out".into());
        }
        if self.keep_pulled_within.is_some_and(|within| within < SHORTEST_PULLED) {
            return Err("keep-pulled-within is at least 2h, because pulls are known to the hour".into());
        }
        if self.judges() {
            let all = |pattern: &&Pattern| matches!(pattern.as_str(), "*" | "**");
            if let Some(all) = self.keep.iter().find(all) {
                return Err(format!(
                    "keep = [\"{}\"] keeps every tag, so it deletes none: leave out one of the two",
                    all.as_str()
                ));
            }
            if !self.tags.is_empty() && self.tags.iter().all(|pattern| self.keep.contains(pattern)) {
                return Err("`keep` keeps all of its `tags`, so it deletes none: leave out one of the two".into());
            }
        }
        Ok(())
    }
}
