//! The data of distribution and docker-registry (layout v2), in a directory or a bucket, read and never changed.
//!
//! ```text
//! docker/registry/v2/blobs/sha256/ab/ab…/data                              the bytes of blobs and manifests
//! docker/registry/v2/repositories/team/app/_layers/sha256/ab…/link         the repository holds the blob
//! docker/registry/v2/repositories/team/app/_manifests/revisions/sha256/ab…/link   it holds the manifest
//! docker/registry/v2/repositories/team/app/_manifests/tags/v1/current/link the tag names the manifest
//! docker/registry/v2/repositories/team/app/_uploads/…                      uploads that have not ended
//! ```
//!
//! A link is a file with a digest in it. Whatever is deleted there loses its link, and its bytes only when that registry
//! collects its garbage.

mod activity;
mod blob;
mod contents;
mod digests;
mod finding;
mod parallel;
mod source;
mod tree;

pub(crate) use self::activity::activity;
pub(crate) use self::blob::{Look, Reader};
pub(crate) use self::contents::{Contents, SourceTag};
pub(crate) use self::digests::Digests;
pub(crate) use self::finding::{Finding, Kind};
pub(crate) use self::source::{Entry, Source};
pub(crate) use self::tree::{Item, Stat, Tree, What};
