//! What is wrong with something in the directory, or is to be known of it.

use serde::Serialize;

/// Something that is broken, or that an administrator should know of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// What kind of thing it is.
    pub(crate) kind: Kind,
    /// What it is about: `tag team/app:v1`, `manifest team/app@sha256:…`, `blob team/app@sha256:…`, or a path.
    pub(crate) what: String,
    /// What is wrong with it, and what becomes of it.
    pub(crate) problem: String,
    /// The images that need it, some at most.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) images: Vec<String>,
}

/// What kind of finding it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// A link without a digest in it.
    EmptyLink,
    /// A link with something else in it than the digest of its place.
    WrongLink,
    /// A blob whose bytes are not there.
    BlobMissing,
    /// A blob that has another size than a manifest says, and other bytes than its digest says.
    BlobSize,
    /// A blob whose bytes are not those of its digest.
    BlobDigest,
    /// A manifest that does not read.
    Manifest,
    /// A manifest of schema 1.
    SchemaOne,
    /// A manifest that needs what its repository does not hold.
    Incomplete,
    /// A manifest that says another size than something has.
    Descriptor,
    /// A tag whose manifest is gone or not taken over.
    Tag,
    /// A name that can be none of a repository or tag.
    Name,
    /// A digest that is none, or of an algorithm that is not known here.
    Digest,
    /// Something that does not belong there.
    Unexpected,
    /// A file or directory that cannot be read.
    Unreadable,
    /// An upload that has not ended.
    Upload,
    /// A tag that was pushed here since, or a blob that differs here.
    Here,
}

impl Kind {
    /// Whether something is broken, and not only to be known.
    pub(crate) fn is_broken(self) -> bool {
        !matches!(self, Self::Upload | Self::Here | Self::Descriptor)
    }
}

impl Finding {
    /// A finding that no image needs to be named for.
    pub(crate) fn new(kind: Kind, what: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { kind, what: what.into(), problem: problem.into(), images: Vec::new() }
    }
}
