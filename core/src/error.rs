//! Errors: the codes on the wire as one table, and everything that can go wrong sorted by who is to blame,
//! with one total way to a response (OCI distribution-spec, "Error Codes"; SPEC P).

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use alloc::{format, vec};
use core::time::Duration;

use serde_json::{Value as Json, json};

use crate::config::{MISSING_LISTED, UPLOAD_CHUNKS};
use crate::digest::{Digest, DigestError};
use crate::effect::Fault;
use crate::http::Response;
use crate::name::{InvalidRepository, InvalidTag, Repository};
use crate::record::Damaged;

macro_rules! codes {
    ($( $(#[$meta:meta])* $name:ident $wire:literal $message:literal, )*) => {
        /// A code in the body of an error.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code { $( $(#[$meta])* $name, )* }

        impl Code {
            /// Every code.
            pub const ALL: &[Self] = &[$( Self::$name, )*];

            /// The code as it is sent.
            pub fn as_str(self) -> &'static str {
                match self { $( Self::$name => $wire, )* }
            }

            /// What the specification says of it.
            pub fn meaning(self) -> &'static str {
                match self { $( Self::$name => $message, )* }
            }
        }
    };
}

codes! {
    // The codes of the OCI distribution-spec (code-1 to code-14).
    #[doc = "code-1"] BlobUnknown "BLOB_UNKNOWN" "blob unknown to registry",
    #[doc = "code-2"] BlobUploadInvalid "BLOB_UPLOAD_INVALID" "blob upload invalid",
    #[doc = "code-3"] BlobUploadUnknown "BLOB_UPLOAD_UNKNOWN" "blob upload unknown to registry",
    #[doc = "code-4"] DigestInvalid "DIGEST_INVALID" "provided digest did not match uploaded content",
    #[doc = "code-5"] ManifestBlobUnknown "MANIFEST_BLOB_UNKNOWN" "manifest references a manifest or blob unknown to registry",
    #[doc = "code-6"] ManifestInvalid "MANIFEST_INVALID" "manifest invalid",
    #[doc = "code-7"] ManifestUnknown "MANIFEST_UNKNOWN" "manifest unknown to registry",
    #[doc = "code-8"] NameInvalid "NAME_INVALID" "invalid repository name",
    #[doc = "code-9"] NameUnknown "NAME_UNKNOWN" "repository name not known to registry",
    #[doc = "code-10"] SizeInvalid "SIZE_INVALID" "provided length did not match content length",
    #[doc = "code-11"] Unauthorized "UNAUTHORIZED" "authentication required",
    #[doc = "code-12"] Denied "DENIED" "requested access to the resource is denied",
    #[doc = "code-13"] Unsupported "UNSUPPORTED" "the operation is unsupported",
    #[doc = "code-14"] TooManyRequests "TOOMANYREQUESTS" "too many requests",
    // What the Docker Registry HTTP API V2 has beside them.
    #[doc = "Docker: a tag against the grammar."] TagInvalid "TAG_INVALID" "manifest tag did not match URI",
    #[doc = "Docker: a chunk at the wrong place."] RangeInvalid "RANGE_INVALID" "invalid content range",
    #[doc = "Docker: a page size that is no number."] PaginationNumberInvalid "PAGINATION_NUMBER_INVALID" "invalid number of results requested",
    #[doc = "Docker: the storage failed."] Unknown "UNKNOWN" "unknown error",
    #[doc = "Docker: the storage is busy."] Unavailable "UNAVAILABLE" "service unavailable",
}

/// Why a call did not do as asked. Sorted by blame: the first three groups are the client's, the last is ours, and the
/// one before it nobody's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    // ── the request cannot be understood ─────────────────────────────────────────────────────────────────
    /// No endpoint has this path.
    NoSuchEndpoint,
    /// The endpoint exists, but not with this method: with those that it takes.
    MethodNotAllowed(String),
    /// The repository name is against the grammar.
    Repository(InvalidRepository),
    /// The tag is against the grammar.
    Tag(InvalidTag),
    /// The digest is against the grammar, or of an algorithm that is not ours.
    Digest(DigestError),
    /// The `digest` parameter that finishes an upload is missing.
    DigestMissing,
    /// `n` is not a number.
    PageNumber,
    /// A parameter of a list is none that it takes.
    Parameter {
        /// Which.
        name: &'static str,
        /// What it can be.
        expected: String,
    },
    /// The manifest is none, or none that we take: with what is wrong.
    Manifest(String),
    /// The body has a content coding; bodies are taken as they are to be stored.
    ContentCoding(String),
    /// More `tag` parameters than one request may have.
    TooManyTags(usize),
    /// `tag` parameters where the path names a tag already.
    TagTwice,
    // ── the request cannot be done as the registry is ────────────────────────────────────────────────────
    /// The repository does not exist.
    RepositoryUnknown(Repository),
    /// The repository does not hold the blob.
    BlobUnknown(Digest),
    /// The repository does not hold the manifest, or has no such tag.
    ManifestUnknown(String),
    /// A mirror does not fetch the manifest, because it is for this platform.
    OtherPlatform(Digest, String),
    /// There is no such upload session in the repository.
    UploadUnknown,
    /// What a manifest names and the repository does not hold.
    ManifestBlobsUnknown(Vec<Digest>),
    /// A chunk that does not begin where the session ends; the session as it stands.
    ChunkOutOfPlace(Box<Response>),
    /// The ranges asked for are beyond a content of this many bytes.
    RangeUnsatisfiable(u64),
    /// An operator switched this off.
    Disabled(&'static str),
    /// The caller may not do this, as the records are: with what it may not.
    Denied(String),
    /// `If-Match` or `If-None-Match` forbids the change.
    Precondition(String),
    // ── the body is not what the request said ────────────────────────────────────────────────────────────
    /// The content has another digest than the client said.
    DigestMismatch {
        /// What the client said.
        expected: Digest,
        /// What was received.
        actual: Digest,
    },
    /// The body is longer or shorter than announced, or ended early.
    Size(&'static str),
    /// The manifest is larger than this many bytes.
    ManifestTooLarge(u64),
    /// The blob is larger than this many bytes.
    BlobTooLarge(u64),
    /// The upload has as many chunks as one may have.
    TooManyChunks,
    /// The repository is a mirror: what it has comes from its upstream.
    Mirrored(Repository),
    /// An upstream is to say what the caller may see, and wants to know who that is.
    LoginNeeded,
    /// No mirror is meant by this `?ns=`.
    NamespaceUnknown(String),
    // ── another registry, which this one mirrors, has not answered ───────────────────────────────────────
    /// It is not to be asked for so long.
    UpstreamPaused(Duration),
    /// It cannot be reached, or what it says is no answer: with the reason, for the log.
    UpstreamFailed(String),
    // ── the registry has no room for the request now ─────────────────────────────────────────────────────
    /// It works on as many requests as it can.
    Busy,
    // ── the registry is at fault ─────────────────────────────────────────────────────────────────────────
    /// The storage failed.
    Storage(Fault),
    /// A record does not read.
    Damaged(Damaged),
    /// Other calls got in the way each time.
    Contention,
}

impl Error {
    /// The status and the code.
    pub fn status(&self) -> (u16, Code) {
        match self {
            Self::NoSuchEndpoint => (404, Code::Unsupported),
            Self::ContentCoding(_) => (415, Code::Unsupported),
            Self::MethodNotAllowed(_) | Self::Disabled(_) | Self::Mirrored(_) => (405, Code::Unsupported),
            Self::Repository(_) => (400, Code::NameInvalid),
            Self::Tag(_) => (400, Code::TagInvalid),
            Self::Digest(_) | Self::DigestMissing | Self::DigestMismatch { .. } => (400, Code::DigestInvalid),
            Self::PageNumber => (400, Code::PaginationNumberInvalid),
            Self::Parameter { .. } => (400, Code::Unsupported),
            Self::Manifest(_) => (400, Code::ManifestInvalid),
            Self::TooManyTags(_) => (414, Code::TagInvalid),
            Self::TagTwice => (400, Code::TagInvalid),
            Self::RepositoryUnknown(_) | Self::NamespaceUnknown(_) => (404, Code::NameUnknown),
            Self::BlobUnknown(_) => (404, Code::BlobUnknown),
            Self::ManifestUnknown(_) | Self::OtherPlatform(..) => (404, Code::ManifestUnknown),
            Self::UploadUnknown => (404, Code::BlobUploadUnknown),
            Self::ManifestBlobsUnknown(_) => (400, Code::ManifestBlobUnknown),
            Self::ChunkOutOfPlace(_) | Self::RangeUnsatisfiable(_) => (416, Code::RangeInvalid),
            Self::LoginNeeded => (401, Code::Unauthorized),
            Self::Denied(_) => (403, Code::Denied),
            Self::Precondition(_) => (412, Code::Denied),
            Self::Size(_) => (400, Code::SizeInvalid),
            Self::ManifestTooLarge(_) => (413, Code::ManifestInvalid),
            Self::BlobTooLarge(_) | Self::TooManyChunks => (413, Code::SizeInvalid),
            Self::Busy | Self::UpstreamPaused(_) => (429, Code::TooManyRequests),
            Self::UpstreamFailed(_) => (502, Code::Unavailable),
            Self::Storage(Fault::Full(_)) => (507, Code::Unknown),
            Self::Storage(Fault::Failed(_)) | Self::Damaged(_) => (500, Code::Unknown),
            Self::Storage(Fault::Unavailable(_)) | Self::Contention => (503, Code::Unavailable),
        }
    }

    /// What a person should read.
    fn message(&self) -> String {
        match self {
            Self::NoSuchEndpoint => "there is no such endpoint".into(),
            Self::MethodNotAllowed(allowed) => format!("this endpoint takes {allowed}"),
            Self::Disabled(what) => format!("{what} is switched off in this registry"),
            Self::Repository(error) => error.to_string(),
            Self::Tag(error) => error.to_string(),
            Self::Digest(error) => error.to_string(),
            Self::DigestMissing => "the `digest` parameter says what the upload should be; it is missing".into(),
            Self::PageNumber => "`n` must be a number, such as `n=100`: how many results a page has".into(),
            Self::Parameter { name, expected } => format!("`{name}` must be {expected}"),
            Self::Manifest(reason) => reason.clone(),
            Self::ContentCoding(coding) => {
                format!("the body has `Content-Encoding: {coding}`; send it as it is to be stored, without that header")
            }
            Self::TooManyTags(limit) => format!("one request may make at most {limit} tags"),
            Self::TagTwice => "`tag` parameters go with a digest in the path".into(),
            Self::Size(reason) => (*reason).into(),
            Self::ManifestTooLarge(limit) => format!("a manifest has at most {limit} bytes here"),
            Self::BlobTooLarge(limit) => format!("a blob has at most {limit} bytes here"),
            Self::TooManyChunks => format!("an upload has at most {UPLOAD_CHUNKS} chunks here; send larger ones"),
            Self::ChunkOutOfPlace(_) => "the chunk does not begin where the upload stands; ask for its status".into(),
            Self::RangeUnsatisfiable(size) => format!("the content has {size} bytes, and none of them was asked for"),
            Self::Denied(reason) | Self::Precondition(reason) => reason.clone(),
            Self::Busy => "the registry is busy; come again".into(),
            Self::Mirrored(name) => format!("{name} is a mirror: push to the registry that it mirrors"),
            Self::OtherPlatform(_, platform) => {
                format!("this manifest is for {platform}, and this mirror fetches nothing for that platform")
            }
            Self::LoginNeeded => "log in with your login for the registry that is mirrored here".into(),
            Self::NamespaceUnknown(namespace) => format!("this registry mirrors no `{namespace}`"),
            Self::UpstreamPaused(_) => "the registry that is mirrored here allows no more requests now".into(),
            Self::UpstreamFailed(_) => {
                "the registry that is mirrored here cannot be reached or fails; retry later".into()
            }
            Self::Storage(Fault::Full(_)) => "the storage of the registry is full".into(),
            Self::Storage(Fault::Unavailable(_)) => "the storage of the registry is unavailable; retry later".into(),
            Self::Storage(Fault::Failed(_)) | Self::Damaged(_) => "the storage of the registry failed".into(),
            Self::Contention => "too many others are changing the same thing; come again".into(),
            Self::DigestMismatch { .. }
            | Self::RepositoryUnknown(_)
            | Self::BlobUnknown(_)
            | Self::ManifestUnknown(_)
            | Self::UploadUnknown
            | Self::ManifestBlobsUnknown(_) => self.status().1.meaning().into(),
        }
    }

    /// What a program may want to know, one entry for each thing that is wrong (SPEC K9).
    fn details(&self) -> Vec<Json> {
        match self {
            Self::RepositoryUnknown(name) => vec![json!({ "name": name })],
            Self::BlobUnknown(digest) => vec![json!({ "digest": digest })],
            Self::ManifestUnknown(reference) => vec![json!({ "reference": reference })],
            Self::OtherPlatform(digest, _) => vec![json!({ "reference": digest })],
            Self::ManifestBlobsUnknown(digests) => {
                digests.iter().take(MISSING_LISTED).map(|digest| json!({ "digest": digest })).collect()
            }
            Self::DigestMismatch { expected, actual } => vec![json!({ "expected": expected, "actual": actual })],
            _ => vec![Json::Null],
        }
    }
}

/// One entry in the body of an error response.
fn entry(code: Code, message: &str, detail: Json) -> Json {
    let mut entry = json!({ "code": code.as_str(), "message": message });
    if !detail.is_null() {
        entry["detail"] = detail;
    }
    entry
}

/// An error response with one code, for hosts that answer a request themselves.
pub fn refusal(status: u16, code: Code, message: &str) -> Response {
    let body = json!({ "errors": [entry(code, message, Json::Null)] });
    stamped(Response::new(status).with_bytes("application/json", body.to_string()))
}

/// The response with what every response has (SPEC A3).
pub(crate) fn stamped(response: Response) -> Response {
    response.with("Docker-Distribution-API-Version", "registry/2.0").with("X-Content-Type-Options", "nosniff")
}

impl From<Error> for Response {
    fn from(error: Error) -> Self {
        let (status, code) = error.status();
        let message = error.message();
        let entries: Vec<Json> = error.details().into_iter().map(|detail| entry(code, &message, detail)).collect();
        let mut response = match &error {
            // SPEC F3: the answer says where the session stands.
            Error::ChunkOutOfPlace(session) => Response { status, ..Response::clone(session) },
            _ => Response::new(status),
        };
        response = response.with_bytes("application/json", json!({ "errors": entries }).to_string());
        match error {
            // SPEC A13.
            Error::MethodNotAllowed(allowed) => response.with("Allow", allowed),
            // SPEC A16; RFC 9110, 15.5.16.
            Error::ContentCoding(_) => response.with("Accept-Encoding", "identity"),
            // SPEC C9.
            Error::RangeUnsatisfiable(size) => response.with("Content-Range", format!("bytes */{size}")),
            // SPEC V20; RFC 9110, 11.6.1.
            Error::LoginNeeded => response.with("WWW-Authenticate", "Basic realm=\"the registry that is mirrored\""),
            Error::Mirrored(_) => response.with("Allow", "GET, HEAD, DELETE"),
            Error::UpstreamPaused(time) => response.with("Retry-After", time.as_secs().max(1).to_string()),
            Error::UpstreamFailed(reason) => {
                let fault = Some(Fault::Unavailable(reason));
                Self { fault, ..response.with("Retry-After", "1") }
            }
            Error::Busy | Error::Contention => response.with("Retry-After", "1"),
            Error::Storage(fault) => {
                let retry = matches!(fault, Fault::Unavailable(_));
                let response = if retry { response.with("Retry-After", "1") } else { response };
                Self { fault: Some(fault), ..response }
            }
            Error::Damaged(damaged) => Self { fault: Some(damaged.into()), ..response },
            _ => response,
        }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::Storage(fault)
    }
}

impl From<Damaged> for Error {
    fn from(damaged: Damaged) -> Self {
        Self::Damaged(damaged)
    }
}

impl From<Damaged> for Fault {
    fn from(damaged: Damaged) -> Self {
        Self::Failed(damaged.to_string())
    }
}

impl From<InvalidRepository> for Error {
    fn from(error: InvalidRepository) -> Self {
        Self::Repository(error)
    }
}

impl From<InvalidTag> for Error {
    fn from(error: InvalidTag) -> Self {
        Self::Tag(error)
    }
}

impl From<DigestError> for Error {
    fn from(error: DigestError) -> Self {
        Self::Digest(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Body;

    /// SPEC P2: upper-case letters and underscores.
    #[test]
    fn codes_are_written_as_the_specification_demands() {
        for code in Code::ALL {
            assert!(code.as_str().bytes().all(|b| b.is_ascii_uppercase() || b == b'_'), "{code:?}");
        }
    }

    /// SPEC P1, K9.
    #[test]
    fn a_body_lists_one_error_for_each_missing_blob() {
        let digests = [b"a", b"b"].map(|bytes| crate::digest::Algorithm::Sha256.digest(bytes));
        let response = Response::from(Error::ManifestBlobsUnknown(digests.to_vec()));
        let Body::Bytes(body) = &response.body else { panic!("no body") };
        let body: Json = serde_json::from_slice(body).expect("JSON");
        let errors = body["errors"].as_array().expect("a list");
        assert_eq!(errors.len(), 2);
        for (error, digest) in errors.iter().zip(digests) {
            assert_eq!(error["code"], "MANIFEST_BLOB_UNKNOWN");
            assert_eq!(error["detail"]["digest"], digest.to_string());
        }
        assert_eq!(response.header("content-type"), Some("application/json"));
    }

    #[test]
    fn the_reason_of_a_fault_is_for_the_log_alone() {
        let response = Response::from(Error::Storage(Fault::Failed("/secret/path: I/O error".into())));
        assert_eq!(response.status, 500);
        let Body::Bytes(body) = &response.body else { panic!("no body") };
        assert!(!body.windows(6).any(|window| window == b"secret"));
        assert!(response.fault.is_some());
    }
}
