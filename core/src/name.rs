//! Names: repositories and tags (OCI distribution-spec, "Pulling manifests"; SPEC B1–B4).

use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

/// The longest repository name in bytes. The Docker document says "less than 256", and clients count the host
/// name in, so longer ones would be of no use (SPEC B2).
pub const REPOSITORY_LIMIT: usize = 255;

/// The longest tag in bytes (SPEC B4).
pub const TAG_LIMIT: usize = 128;

/// The name of a repository, such as `library/debian`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Repository(String);

/// A tag, such as `v1.2`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Tag(String);

/// The text is no name of a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidRepository;

/// The text is no tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidTag;

impl FromStr for Repository {
    type Err = InvalidRepository;

    /// `name ::= component ("/" component)*`,
    /// `component ::= [a-z0-9]+ (separator [a-z0-9]+)*`, `separator ::= "." | "_" | "__" | "-"+`.
    fn from_str(text: &str) -> Result<Self, InvalidRepository> {
        let valid = text.len() <= REPOSITORY_LIMIT && text.split('/').all(is_component);
        if valid { Ok(Self(text.into())) } else { Err(InvalidRepository) }
    }
}

fn is_component(text: &str) -> bool {
    let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let (Some(first), Some(last)) = (text.as_bytes().first(), text.as_bytes().last()) else { return false };
    alphanumeric(first)
        && alphanumeric(last)
        && text
            .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            .all(|separator| matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-'))
}

impl FromStr for Tag {
    type Err = InvalidTag;

    /// `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`
    fn from_str(text: &str) -> Result<Self, InvalidTag> {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let valid = text.len() <= TAG_LIMIT
            && text.bytes().next().is_some_and(word)
            && text.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'));
        if valid { Ok(Self(text.into())) } else { Err(InvalidTag) }
    }
}

macro_rules! name {
    ($name:ident, $error:ident, $form:literal) => {
        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl fmt::Display for $error {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($form)
            }
        }

        impl core::error::Error for $error {}
    };
}

name!(
    Repository,
    InvalidRepository,
    "a repository name has components of lower-case letters and digits, joined by `.`, `_`, `__` or dashes, \
     with `/` between them, 255 characters at most"
);
name!(Tag, InvalidTag, "a tag has letters, digits, `_`, `.` and `-`, 128 at most, and begins with none of `.` and `-`");

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    /// SPEC B1, B2, U2.
    #[test]
    fn a_repository_name_follows_the_grammar() {
        let longest = "a".repeat(REPOSITORY_LIMIT);
        for valid in ["a", "0", "a/b", "a.b", "a_b", "a__b", "a-b", "a---b", "a/b/c/d", "tags/blobs", &longest] {
            assert!(valid.parse::<Repository>().is_ok(), "{valid}");
        }
        let too_long = format!("{longest}a");
        for invalid in [
            "", "/", "a/", "/a", "a//b", "A", "a..b", "a___b", "a._b", "a_.b", "a-.b", ".a", "a.", "_a", "a_", "-a",
            "a-", "a b", "ä", "a\0b", "..", "a/../b", "a:b", "a@b", &too_long,
        ] {
            assert!(invalid.parse::<Repository>().is_err(), "{invalid}");
        }
    }

    /// SPEC B4.
    #[test]
    fn a_tag_follows_the_grammar() {
        let longest = "a".repeat(TAG_LIMIT);
        for valid in ["a", "A", "0", "_", "v1.2-rc_3", "__", "a..b", &longest] {
            assert!(valid.parse::<Tag>().is_ok(), "{valid}");
        }
        let too_long = format!("{longest}a");
        for invalid in ["", ".a", "-a", "a/b", "a:b", "a b", "ä", "a+b", &too_long] {
            assert!(invalid.parse::<Tag>().is_err(), "{invalid}");
        }
    }
}
