//! Operations: everything a request can ask for, as one table.
//!
//! [`Operation::read`] parses method, path and query once. Each row of the table below says where an operation is
//! found, what its caller must be allowed to do, what logs call it, whether it changes what the registry holds, and
//! which flow performs it. `Allow` is read off the same rows, so nothing has to be kept in step by hand.
//!
//! An upload session goes through these operations:
//!
//! ```text
//!   StartUpload ──► open ──UploadChunk──► open ──FinishUpload──► the blob is held
//!   MountBlob ─┬─► (not possible) ─► open   │
//!              └─► the blob is held         ├──CancelUpload──► gone
//!   PostBlob ────► the blob is held         └──(a garbage collection, after `upload_lifetime`)──► gone
//! ```

mod summary;

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use uuid::Uuid;

pub use self::summary::{Summary, Written};

use crate::asked::{Access, Action, Asked};
use crate::digest::Digest;
use crate::error::Error;
use crate::flows::Call;
use crate::http::{Method, Response};
use crate::name::{InvalidTag, Repository, Tag};
use crate::target::{Kept, Query, Reference, Target};

macro_rules! operations {
    ($(
        $(#[$meta:meta])*
        $operation:ident $(( $($field:ident: $type:ty),+ ))? {
            at: [$($method:ident),+] $target:pat, $brings:pat,
            log: $name:literal, [$($repository:expr)?], [$($reference:expr)?],
            needs: [$($access:expr),*],
            changes: $changes:literal,
            flow: |$call:ident, $asked:ident| $flow:expr,
        }
    )*) => {
        /// What a request asks for. The names in it are valid.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Operation { $( $(#[$meta])* $operation $(( $($type),+ ))?, )* }

        #[allow(unused_variables, reason = "a row does not need each of its names in each column")]
        impl Operation {
            /// The operation of a method on what a path names.
            fn at(target: Target, method: Method, brings: Brings) -> Result<Self, Error> {
                match (target, method, brings) {
                    $( ($target, $(Method::$method)|+, $brings) => Ok(Self::$operation $(( $($field),+ ))?), )*
                    // SPEC A13.
                    (target, ..) => Err(Error::MethodNotAllowed(Self::allow(&target))),
                }
            }

            /// The methods that can be used on what a path names: the value of `Allow`.
            fn allow(target: &Target) -> String {
                let mut methods = Vec::new();
                $( if matches!(target, $target) { methods.extend([$(Method::$method),+]); } )*
                methods.dedup();
                methods.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
            }

            /// What logs and counts say of it.
            pub fn summary(&self) -> Summary<'_> {
                match self { $(
                    Self::$operation $(( $($field),+ ))? => Summary {
                        name: $name,
                        repository: None $( .or(Some($repository)) )?,
                        reference: None $( .or(Some($reference as Written<'_>)) )?,
                        changes: $changes,
                    },
                )* }
            }

            /// What the caller must be allowed to do, for hosts that know who is asking (SPEC Q1, E14). Empty for
            /// `/v2/` and for what is refused in any case: these ask for no more than to be logged in.
            pub fn access(&self) -> Vec<Access> {
                match self { $( Self::$operation $(( $($field),+ ))? => Vec::from([$($access),*]), )* }
            }

            /// Performs it.
            pub(crate) async fn answer(&self, call: &Call, asked: &Asked) -> Result<Response, Error> {
                match self { $( Self::$operation $(( $($field),+ ))? => { let ($call, $asked) = (call, asked); $flow } )* }
            }
        }
    };
}

operations! {
    /// `GET`, `HEAD /v2/`: is there a registry? (OCI end-1)
    Base {
        at: [Get, Head] Target::Base, _,
        log: "base", [], [],
        needs: [],
        changes: false,
        flow: |call, asked| call.base(asked.root.as_deref()),
    }
    /// `GET`, `HEAD /v2/_catalog` (Docker)
    ListRepositories {
        at: [Get, Head] Target::Catalog, _,
        log: "list-repositories", [], [],
        needs: [Access::Catalog],
        changes: false,
        flow: |call, asked| call.catalog(&asked.query).await,
    }
    /// `GET`, `HEAD /v2/<name>/tags/list` (OCI end-8)
    ListTags(name: Repository) {
        at: [Get, Head] Target::Tags(name), _,
        log: "list-tags", [name], [],
        needs: [pull(name)],
        changes: false,
        flow: |call, asked| call.tags(name, asked).await,
    }
    /// `GET`, `HEAD /v2/<name>/referrers/<digest>` (OCI end-12)
    ListReferrers(name: Repository, subject: Digest) {
        at: [Get, Head] Target::Referrers(name, subject), _,
        log: "list-referrers", [name], [subject],
        needs: [pull(name)],
        changes: false,
        flow: |call, asked| call.referrers(name, subject, &asked.request, &asked.query).await,
    }
    /// `GET`, `HEAD /v2/<name>/blobs/<digest>` (OCI end-2)
    PullBlob(name: Repository, digest: Digest) {
        at: [Get, Head] Target::Blob(name, digest), _,
        log: "pull-blob", [name], [digest],
        needs: [pull(name)],
        changes: false,
        flow: |call, asked| call.blob(name, digest, &asked.request).await,
    }
    /// `DELETE /v2/<name>/blobs/<digest>` (OCI end-10)
    DeleteBlob(name: Repository, digest: Digest) {
        at: [Delete] Target::Blob(name, digest), _,
        log: "delete-blob", [name], [digest],
        needs: [delete(name)],
        changes: true,
        flow: |call, asked| call.delete_blob(name, digest).await,
    }
    /// `POST /v2/<name>/blobs/uploads/?digest=<digest>`: a whole blob (OCI end-4b)
    PostBlob(name: Repository, digest: Digest) {
        at: [Post] Target::Uploads(name), Brings::Whole(digest),
        log: "push-blob", [name], [digest],
        needs: [push(name)],
        changes: true,
        flow: |call, asked| call.post_blob(name, digest, &asked.request).await,
    }
    /// `POST /v2/<name>/blobs/uploads/?mount=<digest>&from=<name>` (OCI end-11)
    MountBlob(name: Repository, digest: Digest, from: Option<Repository>) {
        at: [Post] Target::Uploads(name), Brings::Mounted(digest, from),
        log: "mount-blob", [name], [digest],
        needs: [push(name), Access::Source(from.clone())],
        changes: true,
        flow: |call, asked| call.mount_blob(name, digest, from.as_ref(), &asked.query).await,
    }
    /// `POST /v2/<name>/blobs/uploads/` (OCI end-4a)
    StartUpload(name: Repository) {
        at: [Post] Target::Uploads(name), Brings::Nothing,
        log: "start-upload", [name], [],
        needs: [push(name)],
        changes: false,
        flow: |call, asked| call.start_upload(name, &asked.query).await,
    }
    /// `GET`, `HEAD /v2/<name>/blobs/uploads/<id>` (OCI end-13). Whoever may push may look after, and cancel, what it
    /// pushes (SPEC I3).
    UploadStatus(name: Repository, id: Uuid) {
        at: [Get, Head] Target::Upload(name, id), _,
        log: "upload-status", [name], [id],
        needs: [push(name)],
        changes: false,
        flow: |call, asked| call.upload_status(name, *id).await,
    }
    /// `PATCH /v2/<name>/blobs/uploads/<id>` (OCI end-5)
    UploadChunk(name: Repository, id: Uuid) {
        at: [Patch] Target::Upload(name, id), _,
        log: "upload-chunk", [name], [id],
        needs: [push(name)],
        changes: false,
        flow: |call, asked| call.upload_chunk(name, *id, &asked.request).await,
    }
    /// `PUT /v2/<name>/blobs/uploads/<id>?digest=<digest>` (OCI end-6)
    FinishUpload(name: Repository, id: Uuid, digest: Digest) {
        at: [Put] Target::Upload(name, id), Brings::Whole(digest),
        log: "push-blob", [name], [digest],
        needs: [push(name)],
        changes: true,
        flow: |call, asked| call.finish_upload(name, *id, digest, &asked.request).await,
    }
    /// `DELETE /v2/<name>/blobs/uploads/<id>` (OCI end-14)
    CancelUpload(name: Repository, id: Uuid) {
        at: [Delete] Target::Upload(name, id), _,
        log: "cancel-upload", [name], [id],
        needs: [push(name)],
        changes: false,
        flow: |call, asked| call.cancel_upload(name, *id).await,
    }
    /// `GET`, `HEAD /v2/<name>/manifests/<reference>` (OCI end-3)
    PullManifest(name: Repository, reference: Reference) {
        at: [Get, Head] Target::Manifest(name, reference), _,
        log: "pull-manifest", [name], [reference],
        needs: [pull(name)],
        changes: false,
        flow: |call, asked| call.manifest(name, reference, &asked.request).await,
    }
    /// `PUT /v2/<name>/manifests/<reference>` (OCI end-7)
    PushManifest(name: Repository, reference: Reference) {
        at: [Put] Target::Manifest(name, reference), _,
        log: "push-manifest", [name], [reference],
        needs: [push(name)],
        changes: true,
        flow: |call, asked| call.put_manifest(name, reference, &asked.request, &asked.query).await,
    }
    /// `GET`, `HEAD /v2/<name>/manifests/<reference>`, where the reference can be neither a tag nor a digest: there is
    /// no such manifest (SPEC B4, J4).
    PullNoManifest(name: Repository, reference: String) {
        at: [Get, Head] Target::NoManifest(name, reference), _,
        log: "pull-manifest", [name], [reference],
        needs: [pull(name)],
        changes: false,
        flow: |call, asked| Err(Error::ManifestUnknown(reference.clone())),
    }
    /// `PUT /v2/<name>/manifests/<reference>` likewise: it is refused (SPEC B4, J5).
    PushNoManifest(name: Repository, reference: String) {
        at: [Put] Target::NoManifest(name, reference), _,
        log: "push-manifest", [name], [reference],
        needs: [push(name)],
        changes: true,
        flow: |call, asked| Err(Error::Tag(InvalidTag)),
    }
    /// `DELETE /v2/<name>/manifests/<reference>` likewise (SPEC B4, L6).
    DeleteNoManifest(name: Repository, reference: String) {
        at: [Delete] Target::NoManifest(name, reference), _,
        log: "delete-tag", [name], [reference],
        needs: [delete(name)],
        changes: true,
        flow: |call, asked| Err(Error::Tag(InvalidTag)),
    }
    /// `DELETE /v2/<name>/manifests/<tag>` (OCI end-9)
    DeleteTag(name: Repository, tag: Tag) {
        at: [Delete] Target::Manifest(name, Reference::Tag(tag)), _,
        log: "delete-tag", [name], [tag],
        needs: [Access::DeleteTag(name.clone(), tag.clone())],
        changes: true,
        flow: |call, asked| call.delete_tag(name, tag, &asked.request.headers).await,
    }
    /// `DELETE /v2/<name>/manifests/<digest>` (OCI end-9)
    DeleteManifest(name: Repository, digest: Digest) {
        at: [Delete] Target::Manifest(name, Reference::Digest(digest)), _,
        log: "delete-manifest", [name], [digest],
        needs: [delete(name)],
        changes: true,
        flow: |call, asked| call.delete_manifest(name, digest, &asked.request.headers).await,
    }
    /// `GET`, `HEAD /api/v1/repositories`: repositories with what they take (SPEC AA3)
    BrowseRepositories {
        at: [Get, Head] Target::BrowsedRepositories, _,
        log: "browse-repositories", [], [],
        needs: [Access::Catalog],
        changes: false,
        flow: |call, asked| call.browse_repositories(&asked.query).await,
    }
    /// `GET`, `HEAD /api/v1/folders`: repositories as a tree (SPEC AA5)
    BrowseFolder {
        at: [Get, Head] Target::Folders, _,
        log: "browse-folder", [], [],
        needs: [Access::Catalog],
        changes: false,
        flow: |call, asked| call.browse_folder(&asked.query).await,
    }
    /// `GET`, `HEAD /api/v1/search`: repositories and tags by a part of their names (SPEC AA11)
    Search {
        at: [Get, Head] Target::Search, _,
        log: "search", [], [],
        needs: [Access::Catalog],
        changes: false,
        flow: |call, asked| call.search(&asked.query).await,
    }
    /// `GET`, `HEAD /api/v1/repositories/<name>/tags`: tags with what they name (SPEC AA6)
    BrowseTags(name: Repository) {
        at: [Get, Head] Target::BrowsedTags(name), _,
        log: "browse-tags", [name], [],
        needs: [pull(name)],
        changes: false,
        flow: |call, asked| call.browse_tags(name, asked).await,
    }
    /// `GET`, `HEAD /api/v1/repositories/<name>/images/<reference>`: all that is known of a manifest (SPEC AA8)
    BrowseImage(name: Repository, reference: Reference) {
        at: [Get, Head] Target::BrowsedImage(name, reference), _,
        log: "browse-image", [name], [reference],
        needs: [pull(name)],
        changes: false,
        flow: |call, asked| call.browse_image(name, reference, asked).await,
    }
    /// `DELETE /api/v1/repositories/<name>/contents`: all tags and manifests go (SPEC AD6)
    EmptyRepository(name: Repository) {
        at: [Delete] Target::Contents(name), _,
        log: "empty-repository", [name], [],
        needs: [pull(name), delete(name)],
        changes: true,
        flow: |call, asked| call.empty(name, &asked.query).await,
    }
    /// `GET`, `HEAD /api/v1/session`: who is signed in (SPEC AB). A host that knows users answers these itself.
    Session {
        at: [Get, Head] Target::Session, _,
        log: "session", [], [],
        needs: [Access::Open],
        changes: false,
        flow: |call, asked| Err(Error::NoSuchEndpoint),
    }
    /// `POST /api/v1/session`: somebody signs in
    SignIn {
        at: [Post] Target::Session, _,
        log: "sign-in", [], [],
        needs: [Access::Open],
        changes: true,
        flow: |call, asked| Err(Error::NoSuchEndpoint),
    }
    /// `DELETE /api/v1/session`: somebody signs out
    SignOut {
        at: [Delete] Target::Session, _,
        log: "sign-out", [], [],
        needs: [Access::Open],
        changes: true,
        flow: |call, asked| Err(Error::NoSuchEndpoint),
    }
    /// `GET /api/v1/session/oidc/<provider>`: a browser is sent to a provider to sign in there (SPEC AC16)
    StartProviderSignIn(name: String) {
        at: [Get] Target::ProviderSignIn(name), _,
        log: "start-provider-sign-in", [], [name],
        needs: [Access::Open],
        changes: false,
        flow: |call, asked| Err(Error::NoSuchEndpoint),
    }
    /// `GET /api/v1/session/oidc/<provider>/callback`: it comes back, and is signed in here
    FinishProviderSignIn(name: String) {
        at: [Get] Target::ProviderCallback(name), _,
        log: "finish-provider-sign-in", [], [name],
        needs: [Access::Open],
        changes: true,
        flow: |call, asked| Err(Error::NoSuchEndpoint),
    }
    /// `GET`, `HEAD /api/v1/tokens`: the API tokens of a user (SPEC AB)
    ListApiTokens {
        at: [Get, Head] Target::ApiTokens, _,
        log: "list-api-tokens", [], [],
        needs: [],
        changes: false,
        flow: |call, asked| Err(Error::NoSuchEndpoint),
    }
    /// `POST /api/v1/tokens`: a user makes an API token
    CreateApiToken {
        at: [Post] Target::ApiTokens, _,
        log: "create-api-token", [], [],
        needs: [],
        changes: true,
        flow: |call, asked| Err(Error::NoSuchEndpoint),
    }
    /// `DELETE /api/v1/tokens/<id>`: it is revoked
    RevokeApiToken(id: String) {
        at: [Delete] Target::ApiToken(id), _,
        log: "revoke-api-token", [], [id],
        needs: [],
        changes: true,
        flow: |call, asked| Err(Error::NoSuchEndpoint),
    }
    /// `GET`, `HEAD /api/v1/usage`: what repositories take, and how full quotas are (SPEC AE). A host that knows
    /// administrators answers this and what follows itself.
    ShowUsage {
        at: [Get, Head] Target::Kept(Kept::Usage), _,
        log: "list-usage", [], [],
        needs: [],
        changes: false,
        flow: |call, asked| Err(Error::NoSuchEndpoint),
    }
    /// `GET`, `HEAD /api/v1/deleted`: what was deleted and can be undeleted
    ListDeleted {
        at: [Get, Head] Target::Kept(Kept::Deleted), _,
        log: "list-deleted", [], [],
        needs: [],
        changes: false,
        flow: |call, asked| Err(Error::NoSuchEndpoint),
    }
    /// `POST /api/v1/deleted/undelete`: something that was deleted comes back
    Undelete {
        at: [Post] Target::Kept(Kept::Undelete), _,
        log: "undelete", [], [],
        needs: [],
        changes: true,
        flow: |call, asked| Err(Error::NoSuchEndpoint),
    }
    /// `POST /api/v1/deleted/purge`: something is removed at once and for good
    Purge {
        at: [Post] Target::Kept(Kept::Purge), _,
        log: "purge", [], [],
        needs: [],
        changes: true,
        flow: |call, asked| Err(Error::NoSuchEndpoint),
    }
    /// `GET`, `HEAD /api/v1/protected`: the protect marks
    ListProtected {
        at: [Get, Head] Target::Kept(Kept::Protected), _,
        log: "list-protected", [], [],
        needs: [],
        changes: false,
        flow: |call, asked| Err(Error::NoSuchEndpoint),
    }
    /// `POST /api/v1/protected`: a protect mark is set
    Protect {
        at: [Post] Target::Kept(Kept::Protected), _,
        log: "protect", [], [],
        needs: [],
        changes: true,
        flow: |call, asked| Err(Error::NoSuchEndpoint),
    }
    /// `DELETE /api/v1/protected?what=<mark>`: a protect mark is removed
    Unprotect {
        at: [Delete] Target::Kept(Kept::Protected), _,
        log: "unprotect", [], [],
        needs: [],
        changes: true,
        flow: |call, asked| Err(Error::NoSuchEndpoint),
    }
    /// `GET`, `HEAD /api/v1/retention`: the rules of retention, and what the last run did
    ShowRetention {
        at: [Get, Head] Target::Kept(Kept::Retention), _,
        log: "list-retention", [], [],
        needs: [],
        changes: false,
        flow: |call, asked| Err(Error::NoSuchEndpoint),
    }
    /// `GET`, `HEAD /api/v1/retention/plan`: what retention would delete
    PlanRetention {
        at: [Get, Head] Target::Kept(Kept::RetentionPlan), _,
        log: "list-retention-plan", [], [],
        needs: [],
        changes: false,
        flow: |call, asked| Err(Error::NoSuchEndpoint),
    }
    /// `POST /api/v1/retention/apply`: what was planned is done
    ApplyRetention {
        at: [Post] Target::Kept(Kept::RetentionApply), _,
        log: "apply-retention", [], [],
        needs: [],
        changes: true,
        flow: |call, asked| Err(Error::NoSuchEndpoint),
    }
    /// `GET`, `HEAD /api/v1/users`: the users
    ListUsers {
        at: [Get, Head] Target::Kept(Kept::Users), _,
        log: "list-users", [], [],
        needs: [],
        changes: false,
        flow: |call, asked| Err(Error::NoSuchEndpoint),
    }
    /// `GET`, `HEAD /api/v1/rules`: the rules
    ListRules {
        at: [Get, Head] Target::Kept(Kept::Rules), _,
        log: "list-rules", [], [],
        needs: [],
        changes: false,
        flow: |call, asked| Err(Error::NoSuchEndpoint),
    }
    /// `POST /api/v1/rules/explain`: which rule decides
    ExplainRules {
        at: [Post] Target::Kept(Kept::Explain), _,
        log: "explain-rules", [], [],
        needs: [],
        changes: false,
        flow: |call, asked| Err(Error::NoSuchEndpoint),
    }
    /// `GET`, `HEAD /api/v1/activity`: what happened (SPEC AF)
    ListActivity {
        at: [Get, Head] Target::Activity, _,
        log: "list-activity", [], [],
        needs: [],
        changes: false,
        flow: |call, asked| Err(Error::NoSuchEndpoint),
    }
    /// `GET`, `HEAD /api/v1/jobs`: what administrators have the server do (SPEC AF)
    ListJobs {
        at: [Get, Head] Target::Jobs, _,
        log: "list-jobs", [], [],
        needs: [],
        changes: false,
        flow: |call, asked| Err(Error::NoSuchEndpoint),
    }
    /// `POST /api/v1/jobs`: an administrator begins a job
    BeginJob {
        at: [Post] Target::Jobs, _,
        log: "begin-job", [], [],
        needs: [],
        changes: true,
        flow: |call, asked| Err(Error::NoSuchEndpoint),
    }
    /// `GET`, `HEAD /api/v1/mirrors`: what mirrors have
    ListMirrors {
        at: [Get, Head] Target::Mirrors, _,
        log: "list-mirrors", [], [],
        needs: [],
        changes: false,
        flow: |call, asked| Err(Error::NoSuchEndpoint),
    }
    /// `GET`, `HEAD /api/v1/syncs`: how syncs stand
    ListSyncs {
        at: [Get, Head] Target::Syncs, _,
        log: "list-syncs", [], [],
        needs: [],
        changes: false,
        flow: |call, asked| Err(Error::NoSuchEndpoint),
    }
    /// `GET`, `HEAD /api/v1/damaged`: what is damaged, and out of use
    ListDamaged {
        at: [Get, Head] Target::Damaged, _,
        log: "list-damaged", [], [],
        needs: [],
        changes: false,
        flow: |call, asked| Err(Error::NoSuchEndpoint),
    }
    /// `GET`, `HEAD /api/v1/storage`: what the storage has
    StorageState {
        at: [Get, Head] Target::Storage, _,
        log: "storage-state", [], [],
        needs: [],
        changes: false,
        flow: |call, asked| Err(Error::NoSuchEndpoint),
    }
}

fn pull(name: &Repository) -> Access {
    Access::Repository(name.clone(), Action::Pull)
}

fn push(name: &Repository) -> Access {
    Access::Repository(name.clone(), Action::Push)
}

fn delete(name: &Repository) -> Access {
    Access::Repository(name.clone(), Action::Delete)
}

impl Operation {
    /// Reads a request.
    ///
    /// # Errors
    ///
    /// Those of [`Target::parse`]; [`Error::MethodNotAllowed`] when the path takes other methods; and
    /// [`Error::Digest`] or [`Error::DigestMissing`] when the parameters do not say which blob is pushed (SPEC H4).
    pub fn read(method: Method, path: &str, query: &Query) -> Result<Self, Error> {
        let target = Target::parse(path)?;
        let brings = Brings::read(&target, method, query)?;
        Self::at(target, method, brings)
    }
}

/// What the parameters say of the blob that a request brings into a repository.
enum Brings {
    /// Nothing, or nothing that can be used.
    Nothing,
    /// Its digest (SPEC E7, H1).
    Whole(Digest),
    /// Its digest, and the repository that holds it (SPEC E10, E12).
    Mounted(Digest, Option<Repository>),
}

impl Brings {
    fn read(target: &Target, method: Method, query: &Query) -> Result<Self, Error> {
        // SPEC H6: of several digests, the first.
        let digest = query.get("digest");
        match (target, method) {
            (Target::Upload(..), Method::Put) => Ok(Self::Whole(digest.ok_or(Error::DigestMissing)?.parse()?)),
            (Target::Uploads(_), Method::Post) => match digest {
                Some(digest) => Ok(Self::Whole(digest.parse()?)),
                None => Ok(Self::mount(query).unwrap_or(Self::Nothing)),
            },
            _ => Ok(Self::Nothing),
        }
    }

    /// A mount that cannot be, whatever the reason, is an ordinary upload (SPEC E13).
    fn mount(query: &Query) -> Option<Self> {
        let digest = query.get("mount")?.parse().ok()?;
        let from = query.get("from").map(str::parse).transpose().ok()?;
        Some(Self::Mounted(digest, from))
    }
}
