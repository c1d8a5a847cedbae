//! Protect marks: which tags and manifests are not to be deleted, by clients or by the registry itself.

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::name::{REPOSITORY_LIMIT, Repository, TAG_LIMIT, Tag};
use crate::pattern::Pattern;

/// What is protected: `REPOSITORY:TAG`, `REPOSITORY@DIGEST`, or `REPOSITORY` for all of its tags. Repository and tag may
/// be [patterns](Pattern): `team/*:release-*`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mark {
    repositories: Pattern,
    named: Named,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Named {
    Tags(Pattern),
    Manifest(Digest),
}

/// Why a text is no mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidMark(String);

impl Mark {
    /// The repository, if it is no pattern.
    pub(crate) fn repository(&self) -> Option<Repository> {
        self.repositories.as_str().parse().ok()
    }

    /// The digest, if it protects a manifest by that.
    pub fn digest(&self) -> Option<&Digest> {
        match &self.named {
            Named::Manifest(digest) => Some(digest),
            Named::Tags(_) => None,
        }
    }

    /// Whether it protects something in the repository.
    pub fn speaks_of(&self, name: &Repository) -> bool {
        self.repositories.matches(name)
    }

    /// Whether it protects the tag.
    pub fn protects_tag(&self, name: &Repository, tag: &Tag) -> bool {
        matches!(&self.named, Named::Tags(tags) if tags.matches_tag(tag)) && self.speaks_of(name)
    }

    /// Whether it protects the manifest by its digest.
    pub fn protects_manifest(&self, name: &Repository, digest: &Digest) -> bool {
        matches!(&self.named, Named::Manifest(named) if named == digest) && self.speaks_of(name)
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.named {
            Named::Tags(tags) => write!(f, "{}:{}", self.repositories.as_str(), tags.as_str()),
            Named::Manifest(digest) => write!(f, "{}@{digest}", self.repositories.as_str()),
        }
    }
}

impl FromStr for Mark {
    type Err = InvalidMark;

    fn from_str(text: &str) -> Result<Self, InvalidMark> {
        let (repositories, named) = match text.split_once('@') {
            Some((repositories, digest)) => {
                let digest = digest.parse().map_err(|_| InvalidMark(format!("`{digest}` is no digest")))?;
                (repositories, Named::Manifest(digest))
            }
            None => match text.split_once(':') {
                Some((repositories, tags)) => (repositories, Named::Tags(tags_of(tags)?)),
                None => (text, Named::Tags(Pattern::new("*"))),
            },
        };
        Ok(Self { repositories: repositories_of(repositories)?, named })
    }
}

impl TryFrom<String> for Mark {
    type Error = InvalidMark;

    fn try_from(text: String) -> Result<Self, InvalidMark> {
        text.parse()
    }
}

impl From<Mark> for String {
    fn from(mark: Mark) -> Self {
        mark.to_string()
    }
}

impl fmt::Display for InvalidMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)?;
        f.write_str("; write REPOSITORY:TAG, where both may have `*`, or REPOSITORY@DIGEST")
    }
}

impl core::error::Error for InvalidMark {}

fn repositories_of(text: &str) -> Result<Pattern, InvalidMark> {
    let sign = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-' | b'/' | b'*');
    let fits = !text.is_empty() && text.len() <= REPOSITORY_LIMIT && text.bytes().all(sign);
    // Without a star it is one name.
    if fits && (text.contains('*') || text.parse::<Repository>().is_ok()) {
        return Ok(Pattern::new(text));
    }
    Err(InvalidMark(format!("`{text}` is no repository and no pattern of repositories")))
}

fn tags_of(text: &str) -> Result<Pattern, InvalidMark> {
    let sign = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'*');
    let fits = !text.is_empty() && text.len() <= TAG_LIMIT && text.bytes().all(sign);
    if fits && (text.contains('*') || text.parse::<Tag>().is_ok()) {
        return Ok(Pattern::new(text));
    }
    Err(InvalidMark(format!("`{text}` is no tag and no pattern of tags")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_reads_back_as_it_is_written() {
        let digest = crate::digest::Algorithm::Sha256.digest(b"x");
        let by_digest = format!("team/*@{digest}");
        for (text, shown) in [
            ("team/app:v1", "team/app:v1"),
            ("team/*:release-*", "team/*:release-*"),
            ("**:*", "**:*"),
            ("team/app", "team/app:*"),
            (by_digest.as_str(), by_digest.as_str()),
        ] {
            let mark: Mark = text.parse().expect(text);
            assert_eq!(mark.to_string(), shown);
            assert_eq!(shown.parse(), Ok(mark));
        }
    }

    #[test]
    fn what_is_no_mark_is_refused_with_what_to_write() {
        for text in ["", ":", "team/app:", ":v1", "Team:v1", "team//app:v1", "a:b:c", "a@b", "a:v 1", "a/\u{0}:v"] {
            let refused = text.parse::<Mark>().expect_err(text);
            assert!(refused.to_string().contains("REPOSITORY:TAG"), "{refused}");
        }
    }
}
