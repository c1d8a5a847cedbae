//! Patterns of names: which repositories or tags a rule, a quota or a setting is about.

use alloc::string::String;
use alloc::vec::Vec;

use crate::name::{Repository, Tag};

/// A pattern of repository names: `*` stands for any run of characters within a component, `**` across
/// components. `team/*` is `team/app` but not `team/app/web`; `team/**` is both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// A pattern of that text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether the repository is one of these.
    pub fn matches(&self, repository: &Repository) -> bool {
        matches(self.0.as_bytes(), repository.as_str().as_bytes())
    }

    /// Whether the tag is one of these.
    pub fn matches_tag(&self, tag: &Tag) -> bool {
        matches(self.0.as_bytes(), tag.as_str().as_bytes())
    }

    /// Whether that text is one of these: a text that is no name is matched as one.
    pub fn matches_text(&self, text: &str) -> bool {
        matches(self.0.as_bytes(), text.as_bytes())
    }

    /// What every name begins with that it matches.
    pub(crate) fn beginning(&self) -> &str {
        self.0.split('*').next().unwrap_or_default()
    }

    /// Whether it matches every name with that beginning, or its beginning alone; else it is for some of them to say.
    pub(crate) fn reach(&self) -> Reach {
        match &self.0[self.beginning().len()..] {
            "" => Reach::One,
            "**" => Reach::All,
            _ => Reach::Some,
        }
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Which of the names that begin as a pattern does it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The beginning is all of the name.
    One,
    /// Some of them.
    Some,
    /// All of them.
    All,
}

/// Goes through the text once for each star: a pattern of n bytes on a name of m costs at most n · m.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let mut reached: Vec<bool> = core::iter::once(true).chain(text.iter().map(|_| false)).collect();
    let mut rest = pattern;
    while let Some((&first, mut after)) = rest.split_first() {
        let across = first == b'*' && after.first() == Some(&b'*');
        if across {
            after = &after[1..];
        }
        // `reached[i]`: the pattern so far matches the first `i` bytes of the text.
        if first == b'*' {
            for i in 0..text.len() {
                reached[i + 1] |= reached[i] && (across || text[i] != b'/');
            }
        } else {
            for i in (0..text.len()).rev() {
                reached[i + 1] = reached[i] && text[i] == first;
            }
            reached[0] = false;
        }
        rest = after;
    }
    reached[text.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stays_within_a_component_and_two_go_across() {
        let check = |pattern: &str, name: &str, expected: bool| {
            let repository = name.parse().expect("a valid name");
            assert_eq!(Pattern::new(pattern).matches(&repository), expected, "{pattern} {name}");
        };
        check("team/*", "team/app", true);
        check("team/*", "team/app/web", false);
        check("team/**", "team/app/web", true);
        check("**", "a/b/c", true);
        check("*", "a/b", false);
        check("*-dev", "web-dev", true);
        check("*-dev", "web-dev2", false);
        check("a", "a", true);
        check("a", "ab", false);
        check("**/app", "x/y/app", true);
        check("", "a", false);
    }
}
