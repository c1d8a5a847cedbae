//! Targets: what a path and its query ask for.
//!
//! Paths are read from the right end, because a repository may be called `tags/blobs` or `a/uploads`
//! (SPEC B11). Segments are percent-decoded one by one, so an encoded slash never ends a name: within one it stands
//! for a slash (SPEC B10).

use alloc::borrow::Cow;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use uuid::Uuid;

use crate::digest::Digest;
use crate::error::Error;
use crate::name::{Repository, Tag};

/// What a path names. The names in it are valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// `/v2/`
    Base,
    /// `/v2/_catalog`
    Catalog,
    /// `/v2/<name>/tags/list`
    Tags(Repository),
    /// `/v2/<name>/manifests/<reference>`
    Manifest(Repository, Reference),
    /// `/v2/<name>/manifests/<reference>`, where the reference can be neither a tag nor a digest
    NoManifest(Repository, String),
    /// `/v2/<name>/blobs/<digest>`
    Blob(Repository, Digest),
    /// `/v2/<name>/blobs/uploads/`
    Uploads(Repository),
    /// `/v2/<name>/blobs/uploads/<id>`
    Upload(Repository, Uuid),
    /// `/v2/<name>/referrers/<digest>`
    Referrers(Repository, Digest),
    /// `/api/v1/repositories`
    BrowsedRepositories,
    /// `/api/v1/folders`
    Folders,
    /// `/api/v1/search`
    Search,
    /// `/api/v1/repositories/<name>/tags`
    BrowsedTags(Repository),
    /// `/api/v1/repositories/<name>/images/<reference>`
    BrowsedImage(Repository, Reference),
    /// `/api/v1/repositories/<name>/contents`
    Contents(Repository),
    /// `/api/v1/session`
    Session,
    /// `/api/v1/session/oidc/<provider>`
    ProviderSignIn(String),
    /// `/api/v1/session/oidc/<provider>/callback`
    ProviderCallback(String),
    /// `/api/v1/tokens`
    ApiTokens,
    /// `/api/v1/tokens/<id>`
    ApiToken(String),
    /// `/api/v1/activity`
    Activity,
    /// `/api/v1/jobs`
    Jobs,
    /// `/api/v1/mirrors`
    Mirrors,
    /// `/api/v1/syncs`
    Syncs,
    /// `/api/v1/damaged`
    Damaged,
    /// `/api/v1/storage`
    Storage,
    /// Something that administrators look after
    Kept(Kept),
}

/// What administrators look after, and the rules, each at a path of its own under `/api/v1/` (SPEC AE).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// `usage`
    Usage,
    /// `deleted`
    Deleted,
    /// `deleted/undelete`
    Undelete,
    /// `deleted/purge`
    Purge,
    /// `protected`
    Protected,
    /// `retention`
    Retention,
    /// `retention/plan`
    RetentionPlan,
    /// `retention/apply`
    RetentionApply,
    /// `users`
    Users,
    /// `rules`
    Rules,
    /// `rules/explain`
    Explain,
}

impl Kept {
    /// Each, and the segments of its path behind `/api/v1/`.
    const PATHS: [(Self, &[&str]); 11] = [
        (Self::Usage, &["usage"]),
        (Self::Deleted, &["deleted"]),
        (Self::Undelete, &["deleted", "undelete"]),
        (Self::Purge, &["deleted", "purge"]),
        (Self::Protected, &["protected"]),
        (Self::Retention, &["retention"]),
        (Self::RetentionPlan, &["retention", "plan"]),
        (Self::RetentionApply, &["retention", "apply"]),
        (Self::Users, &["users"]),
        (Self::Rules, &["rules"]),
        (Self::Explain, &["rules", "explain"]),
    ];

    /// The segments of its path behind `/api/v1/`.
    pub fn segments(self) -> &'static [&'static str] {
        Self::PATHS.into_iter().find(|(kept, _)| *kept == self).map(|(_, path)| path).unwrap_or_default()
    }

    fn read(segments: &[&str]) -> Option<Self> {
        Self::PATHS.into_iter().find(|(_, path)| *path == segments).map(|(kept, _)| kept)
    }
}

/// How a manifest is called: by tag or by digest.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are called what they are")]
pub enum Reference {
    Tag(Tag),
    Digest(Digest),
}

impl core::fmt::Display for Reference {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

impl core::str::FromStr for Reference {
    type Err = Error;

    /// A tag or a digest, nothing else: no tag has a colon, every digest has one (SPEC B5).
    fn from_str(text: &str) -> Result<Self, Error> {
        Ok(if text.contains(':') { Self::Digest(text.parse()?) } else { Self::Tag(text.parse()?) })
    }
}

impl Target {
    /// Reads a path.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchEndpoint`] when it leads nowhere, [`Error::Repository`] or [`Error::Digest`] when it leads to
    /// an endpoint with a name that cannot be (SPEC B3, B5).
    pub fn parse(path: &str) -> Result<Self, Error> {
        if let Some(rest) = path.strip_prefix("/api/v1/") {
            return segments(rest, Self::browsed);
        }
        let rest = match path.strip_prefix("/v2") {
            Some("" | "/") => return Ok(Self::Base),
            Some(rest) => rest.strip_prefix('/').ok_or(Error::NoSuchEndpoint)?,
            None => return Err(Error::NoSuchEndpoint),
        };
        segments(rest, Self::named)
    }

    /// Reads the segments of a path behind `/api/v1/`, decoded (SPEC AA1).
    fn browsed(segments: &[&str]) -> Result<Self, Error> {
        match segments {
            ["repositories"] => Ok(Self::BrowsedRepositories),
            ["folders"] => Ok(Self::Folders),
            ["search"] => Ok(Self::Search),
            ["session"] => Ok(Self::Session),
            ["session", "oidc", name] if !name.is_empty() => Ok(Self::ProviderSignIn((*name).into())),
            ["session", "oidc", name, "callback"] if !name.is_empty() => Ok(Self::ProviderCallback((*name).into())),
            ["tokens"] => Ok(Self::ApiTokens),
            ["activity"] => Ok(Self::Activity),
            ["jobs"] => Ok(Self::Jobs),
            ["mirrors"] => Ok(Self::Mirrors),
            ["syncs"] => Ok(Self::Syncs),
            ["damaged"] => Ok(Self::Damaged),
            ["storage"] => Ok(Self::Storage),
            ["tokens", id] if !id.is_empty() => Ok(Self::ApiToken((*id).into())),
            ["repositories", name @ .., "tags"] if !name.is_empty() => Ok(Self::BrowsedTags(repository(name)?)),
            ["repositories", name @ .., "contents"] if !name.is_empty() => Ok(Self::Contents(repository(name)?)),
            ["repositories", name @ .., "images", reference] if !name.is_empty() => {
                let name = repository(name)?;
                match reference.parse() {
                    Ok(reference) => Ok(Self::BrowsedImage(name, reference)),
                    // As under `/v2/`, there is no such manifest (SPEC B4).
                    Err(Error::Tag(_)) => Err(Error::ManifestUnknown((*reference).into())),
                    Err(error) => Err(error),
                }
            }
            _ => Kept::read(segments).map(Self::Kept).ok_or(Error::NoSuchEndpoint),
        }
    }

    /// Reads the segments of a path behind `/v2/`, decoded.
    fn named(segments: &[&str]) -> Result<Self, Error> {
        match segments {
            ["_catalog"] | ["_catalog", ""] => Ok(Self::Catalog),
            [name @ .., "tags", "list"] | [name @ .., "tags", "list", ""] if !name.is_empty() => {
                Ok(Self::Tags(repository(name)?))
            }
            [name @ .., "manifests", reference] if !name.is_empty() => {
                let name = repository(name)?;
                match reference.parse() {
                    Ok(reference) => Ok(Self::Manifest(name, reference)),
                    // SPEC B4: what becomes of it depends on the method.
                    Err(Error::Tag(_)) => Ok(Self::NoManifest(name, (*reference).into())),
                    Err(error) => Err(error),
                }
            }
            [name @ .., "referrers", digest] if !name.is_empty() => {
                Ok(Self::Referrers(repository(name)?, digest.parse()?))
            }
            [name @ .., "blobs", "uploads", ""] | [name @ .., "blobs", "uploads"] if !name.is_empty() => {
                Ok(Self::Uploads(repository(name)?))
            }
            [name @ .., "blobs", "uploads", id] if !name.is_empty() => {
                let name = repository(name)?;
                // An id that is none of ours names no session (SPEC F10).
                let id = Uuid::try_parse(id).ok().filter(|uuid| uuid.to_string() == **id);
                Ok(Self::Upload(name, id.ok_or(Error::UploadUnknown)?))
            }
            [name @ .., "blobs", digest] if !name.is_empty() => Ok(Self::Blob(repository(name)?, digest.parse()?)),
            _ => Err(Error::NoSuchEndpoint),
        }
    }
}

/// Decodes the segments of a path, if there is something to decode, and reads them.
fn segments(path: &str, read: impl Fn(&[&str]) -> Result<Target, Error>) -> Result<Target, Error> {
    if path.contains('%') {
        let segments: Vec<Cow<'_, str>> = path.split('/').map(decode).collect();
        return read(&segments.iter().map(AsRef::as_ref).collect::<Vec<_>>());
    }
    read(&path.split('/').collect::<Vec<_>>())
}

fn repository(segments: &[&str]) -> Result<Repository, Error> {
    // SPEC B10: a slash that was encoded is one. What the grammar does not take, such as `..`, is no name either way.
    Ok(segments.join("/").parse()?)
}

/// The parameters of a query, in order. Parameters that nobody asks for are ignored (SPEC A9).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads what stands behind the `?`. A `+` stands for itself: no parameter of ours has a space, and media
    /// types such as `application/spdx+json` have a plus.
    pub fn parse(query: &str) -> Self {
        let parameters = query.split('&').filter(|parameter| !parameter.is_empty()).map(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            (decode(name).into_owned(), decode(value).into_owned())
        });
        Self(parameters.collect())
    }

    /// The first parameter of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Every parameter of that name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The same query with `name` set to `value` once, percent-encoded: what leads to the next page (SPEC N9).
    pub fn with(&self, name: &str, value: &str) -> String {
        let others = self.0.iter().filter(|(n, _)| n != name).map(|(n, v)| (n.as_str(), v.as_str()));
        let parameters: Vec<String> = others
            .chain(core::iter::once((name, value)))
            .map(|(n, v)| alloc::format!("{}={}", encode(n), encode(v)))
            .collect();
        parameters.join("&")
    }

    /// An URL with the parameter of that name, percent-encoded, as it is here; as it is when there is none.
    pub(crate) fn kept(&self, name: &str, url: String) -> String {
        let Some(value) = self.get(name).filter(|value| !value.is_empty()) else { return url };
        let mark = if url.contains('?') { '&' } else { '?' };
        alloc::format!("{url}{mark}{name}={}", encode(value))
    }
}

/// Decodes `%41`. What does not decode stays as it is, and bytes that are no UTF-8 become replacement
/// characters: either is refused by the grammar of whatever it should be.
fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let mut decoded = [0];
        let escaped = first == b'%' && after.len() >= 2 && hex::decode_to_slice(&after[..2], &mut decoded).is_ok();
        bytes.push(if escaped { decoded[0] } else { first });
        rest = if escaped { &after[2..] } else { after };
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

/// Encodes all but the unreserved characters (RFC 3986, section 2.3).
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&alloc::format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const ID: &str = "6f5902ac-237c-4f0a-9fd8-5b3b1f9f5d2e";

    fn check(path: &str, expected: &str) {
        let read = match Target::parse(path) {
            Ok(Target::Base) => "base".into(),
            Ok(Target::Catalog) => "catalog".into(),
            Ok(Target::Tags(name)) => format!("tags of {name}"),
            Ok(Target::Manifest(name, Reference::Tag(tag))) => format!("tag {tag} of {name}"),
            Ok(Target::Manifest(name, Reference::Digest(_))) => format!("manifest of {name}"),
            Ok(Target::NoManifest(name, _)) => format!("no manifest of {name}"),
            Ok(Target::Blob(name, _)) => format!("blob of {name}"),
            Ok(Target::Uploads(name)) => format!("uploads of {name}"),
            Ok(Target::Upload(name, _)) => format!("upload of {name}"),
            Ok(Target::Referrers(name, _)) => format!("referrers of {name}"),
            Ok(Target::BrowsedRepositories) => "repositories".into(),
            Ok(Target::Folders) => "folders".into(),
            Ok(Target::Search) => "search".into(),
            Ok(Target::Session) => "session".into(),
            Ok(Target::ProviderSignIn(name)) => format!("sign-in at {name}"),
            Ok(Target::ProviderCallback(name)) => format!("callback of {name}"),
            Ok(Target::ApiTokens) => "tokens".into(),
            Ok(Target::ApiToken(id)) => format!("token {id}"),
            Ok(Target::Activity) => "activity".into(),
            Ok(Target::Jobs) => "jobs".into(),
            Ok(Target::Mirrors) => "mirrors".into(),
            Ok(Target::Syncs) => "syncs".into(),
            Ok(Target::Damaged) => "damaged".into(),
            Ok(Target::Storage) => "storage".into(),
            Ok(Target::Kept(kept)) => format!("{kept:?}"),
            Ok(Target::Contents(name)) => format!("contents of {name}"),
            Ok(Target::BrowsedTags(name)) => format!("browsed tags of {name}"),
            Ok(Target::BrowsedImage(name, reference)) => format!("browsed image {reference} of {name}"),
            Err(error) => error.status().1.as_str().into(),
        };
        assert_eq!(read, expected, "{path}");
    }

    /// SPEC B10, B11, U3.
    #[test]
    fn paths_are_read_from_the_right_end() {
        check("/v2/", "base");
        check("/v2", "base");
        check("/v2/_catalog", "catalog");
        check("/v2/_catalog/", "catalog");
        check("/v2/a/tags/list", "tags of a");
        check("/v2/a/tags/list/", "tags of a");
        check("/v2/a%2Fb/tags/list", "tags of a/b");
        check("/v2/a%2fb/c/manifests/v1", "tag v1 of a/b/c");
        check("/v2/tags/list/tags/list", "tags of tags/list");
        check("/v2/a/manifests/tags/list", "tags of a/manifests");
        check("/v2/a/b/manifests/v1", "tag v1 of a/b");
        check("/v2/manifests/manifests/manifests", "tag manifests of manifests");
        check("/v2/a/blobs/uploads/manifests/v1", "tag v1 of a/blobs/uploads");
        check("/v2/a/blobs/uploads/", "uploads of a");
        check("/v2/a/blobs/uploads", "uploads of a");
        check("/v2/tags/blobs/blobs/uploads/", "uploads of tags/blobs");
        check(&format!("/v2/a/blobs/uploads/{ID}"), "upload of a");
        check(&format!("/v2/uploads/blobs/{DIGEST}"), "blob of uploads");
        check(&format!("/v2/a/blobs/uploads/blobs/{DIGEST}"), "blob of a/blobs/uploads");
        check(&format!("/v2/a/manifests/{DIGEST}"), "manifest of a");
        check(&format!("/v2/referrers/referrers/{DIGEST}"), "referrers of referrers");
        check(&format!("/v2/a/blobs/{}", DIGEST.replace(':', "%3A")), "blob of a");
        check(&format!("/v2/a/blobs/{}", DIGEST.replace(':', "%3a")), "blob of a");
    }

    /// SPEC AA1.
    #[test]
    fn paths_of_the_api_are_read_from_the_right_end_too() {
        check("/api/v1/repositories", "repositories");
        check("/api/v1/folders", "folders");
        check("/api/v1/search", "search");
        check("/api/v1/session", "session");
        check("/api/v1/session/", "UNSUPPORTED");
        check("/api/v1/tokens", "tokens");
        check("/api/v1/tokens/0a", "token 0a");
        check("/api/v1/tokens/", "UNSUPPORTED");
        check("/api/v1/tokens/a/b", "UNSUPPORTED");
        for name in ["activity", "jobs", "mirrors", "syncs", "damaged", "storage"] {
            check(&format!("/api/v1/{name}"), name);
            check(&format!("/api/v1/{name}/"), "UNSUPPORTED");
        }
        check("/api/v1/usage", "Usage");
        check("/api/v1/deleted/undelete", "Undelete");
        check("/api/v1/deleted/", "UNSUPPORTED");
        check("/api/v1/retention/plan", "RetentionPlan");
        check("/api/v1/rules/explain/x", "UNSUPPORTED");
        check("/api/v1/repositories/a/b/tags", "browsed tags of a/b");
        check("/api/v1/repositories/a%2Fb/tags", "browsed tags of a/b");
        check("/api/v1/repositories/tags/tags", "browsed tags of tags");
        check("/api/v1/repositories/contents/contents", "contents of contents");
        check("/api/v1/repositories/a/images/v1", "browsed image v1 of a");
        check("/api/v1/repositories/images/images/images/v1", "browsed image v1 of images/images");
        check("/api/v1/repositories/a/images/.v1", "MANIFEST_UNKNOWN");
        check("/api/v1/repositories/a/images/sha256:x", "DIGEST_INVALID");
        check("/api/v1/repositories/A/tags", "NAME_INVALID");
        check("/api/v1/repositories/tags", "UNSUPPORTED");
        check("/api/v1/repositories/a", "UNSUPPORTED");
        check("/api/v1/", "UNSUPPORTED");
        check("/api/v1", "UNSUPPORTED");
        check("/api/v2/repositories", "UNSUPPORTED");
    }

    #[test]
    fn a_path_that_cannot_be_is_refused_with_its_code() {
        check("/", "UNSUPPORTED");
        check("/v1/", "UNSUPPORTED");
        check("/v2x/", "UNSUPPORTED");
        check("/v2/a", "UNSUPPORTED");
        check("/v2/_x", "UNSUPPORTED");
        check("/v2//manifests/v1", "NAME_INVALID");
        check("/v2/manifests/v1", "UNSUPPORTED");
        check("/v2/A/tags/list", "NAME_INVALID");
        check("/v2/_x/tags/list", "NAME_INVALID");
        check("/v2/../manifests/v1", "NAME_INVALID");
        check("/v2/a/../b/manifests/v1", "NAME_INVALID");
        check("/v2/a%2F..%2Fb/manifests/v1", "NAME_INVALID");
        check("/v2/a%2F%2Fb/manifests/v1", "NAME_INVALID");
        check("/v2/%2Fa/manifests/v1", "NAME_INVALID");
        check("/v2/a%2Fmanifests%2Fv1", "UNSUPPORTED");
        check("/v2/%2e%2e/manifests/v1", "NAME_INVALID");
        check("/v2/a%00/manifests/v1", "NAME_INVALID");
        check("/v2/a%ff/manifests/v1", "NAME_INVALID");
        check("/v2/a%/manifests/v1", "NAME_INVALID");
        check("/v2/a/manifests/", "no manifest of a");
        check("/v2/a/manifests/.v1", "no manifest of a");
        check("/v2/a/manifests/..%2F..%2Fetc", "no manifest of a");
        check("/v2/a/manifests/sha256:bad", "DIGEST_INVALID");
        check("/v2/a/manifests/md5:d41d8cd98f00b204e9800998ecf8427e", "DIGEST_INVALID");
        check("/v2/a/blobs/", "DIGEST_INVALID");
        check("/v2/a/referrers/x", "DIGEST_INVALID");
        check("/v2/a/blobs/uploads/x", "BLOB_UPLOAD_UNKNOWN");
        check(&format!("/v2/a/blobs/uploads/{}", ID.to_uppercase()), "BLOB_UPLOAD_UNKNOWN");
    }

    #[test]
    fn a_query_is_read_and_carried_on() {
        let query = Query::parse("n=2&artifactType=a%2Fb+c&&x&last=old&artifactType=d");
        assert_eq!(query.get("n"), Some("2"));
        assert_eq!(query.get("x"), Some(""));
        assert_eq!(query.get("y"), None);
        assert_eq!(query.all("artifactType").collect::<Vec<_>>(), ["a/b+c", "d"]);
        assert_eq!(query.with("last", "v 1"), "n=2&artifactType=a%2Fb%2Bc&x=&artifactType=d&last=v%201");
    }
}
