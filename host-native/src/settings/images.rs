//! Images as they are written: those of a repository that a setting or a command is about.

use std::fmt;
use std::str::FromStr;

use orlop_core::digest::Digest;
use orlop_core::name::{Repository, Tag};

/// A repository, and which of its images: `hub/library/debian:12*`, `hub/library/debian@sha256:…`, or all of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Images {
    pub(crate) repository: Repository,
    pub(crate) which: Which,
}

/// Which images of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Which {
    /// All of them.
    All,
    /// Those whose tags match a pattern.
    Tags(String),
    /// The one of that digest.
    Digest(Digest),
}

impl FromStr for Images {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, which) = match (text.split_once('@'), text.split_once(':')) {
            (Some((name, digest)), _) => {
                (name, Which::Digest(digest.parse().map_err(|_| format!("`{digest}` is not a digest"))?))
            }
            (None, Some((name, tags))) if tags.replace('*', "x").parse::<Tag>().is_ok() => {
                (name, Which::Tags(tags.into()))
            }
            (None, Some((_, tags))) => return Err(format!("`{tags}` is not a tag name, nor a pattern of some")),
            (None, None) => (text, Which::All),
        };
        let repository = name.parse().map_err(|_| format!("`{name}` is not a repository name"))?;
        Ok(Self { repository, which })
    }
}

impl fmt::Display for Images {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { repository, which } = self;
        match which {
            Which::All => write!(f, "{repository}"),
            Which::Tags(tags) => write!(f, "{repository}:{tags}"),
            Which::Digest(digest) => write!(f, "{repository}@{digest}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_written_as_references_are() {
        let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        for text in ["hub/library/debian", "hub/a:latest", "hub/a:1.*", "hub/a:*", &format!("hub/a@{digest}")] {
            assert_eq!(text.parse::<Images>().expect(text).to_string(), text);
        }
        for text in ["", "Hub/a", "hub/a:", "hub/a:x y", "hub/a@sha256:1", "hub/a@", "hub/a:-x"] {
            assert!(text.parse::<Images>().is_err(), "{text}");
        }
    }
}
