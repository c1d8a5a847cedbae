//! The check: reads everything that is stored and says what is wrong with it. It changes nothing.
//!
//! What a record names is read in the snapshot of the record, or else the record is read again before anything is
//! reported: so what is pushed, deleted or collected meanwhile is not mistaken for damage.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::pages::Pages;
use super::quarantine::{Examined, manifest_problem, unreadable};
use super::{Call, fault};
use crate::digest::Digest;
use crate::effect::{Fault, Value};
use crate::error::Error;
use crate::keys::{self, Key};
use crate::name::{Repository, Tag};
use crate::object::ObjectId;
use crate::record::{self, BlobRecord, DeletedRecord, DeletedTagRecord, ManifestRecord, TagRecord};

/// How many findings a report names one by one.
const NAMED: usize = 10_000;

/// What a check has read, and what is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckReport {
    /// Repositories.
    pub repositories: u64,
    /// Tags.
    pub tags: u64,
    /// Manifests, one for each repository that holds them.
    pub manifests: u64,
    /// Blobs, each once.
    pub blobs: u64,
    /// How many bytes of manifests and blobs were hashed.
    pub bytes: u64,
    /// How many things are wrong.
    pub problems: u64,
    /// They one by one, some ten thousand at most.
    pub findings: Vec<Finding>,
    /// Why it ended early, if the storage failed.
    pub fault: Option<String>,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What it is: `blob <digest>`, `manifest <repository>@<digest>`, `tag <repository>:<tag>`,
    /// `blob <repository>@<digest>`, `record <key>`, or one of the first two with `deleted` before it.
    pub what: String,
    /// What is wrong with it.
    pub problem: String,
    /// Which repositories lack it for that, some thousand at most.
    pub repositories: Vec<String>,
    /// What makes it good again.
    #[serde(default)]
    pub remedy: String,
}

const HEALS_BLOB: &str = "push an image that has it again, to any repository, or pull it through its mirror";

const HEALS_STORAGE: &str = "see to the storage, then check again";

/// After how many blobs in a row that the storage could not read a check ends.
const FAILURES: u32 = 8;

const HEALS_MANIFEST: &str = "push it to the repository again, or pull it through its mirror";

const HEALS_TAG: &str = "push the tag again, or delete it";

const HEALS_DELETED: &str =
    "push it again if it is needed: it cannot be undeleted; it goes by itself, or by `orlop purge`";

impl Finding {
    /// A blob is damaged.
    pub(super) fn of_blob(digest: &Digest, problem: String, repositories: Vec<String>) -> Self {
        Self { what: format!("blob {digest}"), problem, repositories, remedy: HEALS_BLOB.into() }
    }

    /// A manifest is damaged: which, with its repository.
    pub(super) fn of_manifest(which: String, problem: String, repositories: Vec<String>) -> Self {
        Self { what: format!("manifest {which}"), problem, repositories, remedy: HEALS_MANIFEST.into() }
    }
}

/// Where the bytes of a blob are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// Its size in bytes.
    pub size: u64,
    /// What it is made of, in order.
    pub parts: Vec<Part>,
    /// Which repositories hold it, some thousand at most.
    pub repositories: Vec<String>,
}

/// A run of the bytes of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The object that has them, or had them before they became a record.
    pub object: ObjectId,
    /// How many there are.
    pub size: u64,
    /// They lie among the records, not in an object.
    pub among_records: bool,
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} repositories, {} tags, {} manifests and {} blobs checked, {} bytes hashed; {} problems",
            self.repositories, self.tags, self.manifests, self.blobs, self.bytes, self.problems
        )?;
        self.fault.iter().try_for_each(|fault| write!(f, "; ended early: {fault}"))
    }
}

impl Call {
    /// Checks everything once.
    pub(crate) async fn check(&self) -> CheckReport {
        let mut check = Check { call: self, report: CheckReport::default(), failures: 0 };
        if let Err(error) = check.all().await {
            check.report.fault = Some(fault(error).to_string());
        }
        check.report
    }

    /// Where the bytes of a blob are; `None` when there is no such blob.
    pub(crate) async fn located(&self, digest: &Digest) -> Result<Option<Located>, Error> {
        let Some(blob) = self.find::<BlobRecord>(keys::blob(digest)).await? else { return Ok(None) };
        let parts = blob.record.extents.iter();
        let parts = parts.map(|extent| Part { object: extent.object, size: extent.size, among_records: extent.small });
        let repositories = self.holders(digest).await?;
        Ok(Some(Located { size: blob.record.size, parts: parts.collect(), repositories }))
    }

    /// The first repositories that hold a blob.
    pub(super) async fn holders(&self, digest: &Digest) -> Result<Vec<String>, Error> {
        let holders = keys::holders(digest);
        let page = self.scan(&holders, None).await?;
        Ok(page.iter().map(|(key, _)| holders.rest(key).into()).collect())
    }
}

/// A check under way.
struct Check<'c> {
    call: &'c Call,
    report: CheckReport,
    /// How many blobs in a row could not be judged, because the storage is out of order.
    failures: u32,
}

impl Check<'_> {
    async fn all(&mut self) -> Result<(), Error> {
        let prefix = keys::repositories();
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(self.call).await? {
            for name in page.iter().filter_map(|(key, _)| prefix.rest(key).parse().ok()) {
                self.report.repositories += 1;
                self.tags(&name).await?;
                self.manifests(&name).await?;
                self.deleted(&name).await?;
                self.links(&name).await?;
            }
        }
        self.blobs().await
    }

    fn found(&mut self, finding: Finding) {
        self.report.problems += 1;
        if self.report.findings.len() < NAMED {
            self.report.findings.push(finding);
        }
    }

    /// A record of a repository, or none, if it does not read: then that is found.
    fn read<T: DeserializeOwned>(&mut self, key: &Key, value: &Value, name: &Repository, remedy: &str) -> Option<T> {
        match record::decode(key, value) {
            Ok(record) => Some(record),
            Err(damaged) => {
                let repositories = Vec::from([name.to_string()]);
                let remedy = remedy.into();
                let what = format!("record {key:?}");
                self.found(Finding { what, problem: unreadable(&damaged), repositories, remedy });
                None
            }
        }
    }

    /// Every tag names a manifest that the repository has.
    async fn tags(&mut self, name: &Repository) -> Result<(), Error> {
        let prefix = keys::tags(name);
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(self.call).await? {
            for (key, _) in page {
                let Ok(tag) = prefix.rest(&key).parse::<Tag>() else { continue };
                self.report.tags += 1;
                self.tag(name, &tag, key).await?;
            }
        }
        Ok(())
    }

    async fn tag(&mut self, name: &Repository, tag: &Tag, key: Key) -> Result<(), Error> {
        // The manifest is looked up after the tag: a tag that was moved in between names another, which is there.
        let [Some(value)] = self.call.get([key.clone()]).await? else { return Ok(()) };
        let Some(TagRecord { digest, .. }) = self.read(&key, &value, name, HEALS_TAG) else { return Ok(()) };
        let [now, manifest] = self.call.get([key, keys::manifest(name, &digest)]).await?;
        if manifest.is_none() && now == Some(value) {
            let problem = format!("it names {digest}, which the repository does not have");
            let (what, repositories) = (format!("tag {name}:{tag}"), Vec::from([name.to_string()]));
            self.found(Finding { what, problem, repositories, remedy: HEALS_TAG.into() });
        }
        Ok(())
    }

    /// Every manifest is there byte for byte.
    async fn manifests(&mut self, name: &Repository) -> Result<(), Error> {
        let prefix = keys::manifests(name);
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(self.call).await? {
            for (key, _) in page {
                let Ok(digest) = prefix.rest(&key).parse::<Digest>() else { continue };
                self.report.manifests += 1;
                self.manifest(name, &digest, key).await?;
            }
        }
        Ok(())
    }

    async fn manifest(&mut self, name: &Repository, digest: &Digest, key: Key) -> Result<(), Error> {
        let [record, payload] = self.call.get([key.clone(), keys::payload(name, digest)]).await?;
        let Some(value) = record else { return Ok(()) };
        let Some(record) = self.read::<ManifestRecord>(&key, &value, name, HEALS_MANIFEST) else { return Ok(()) };
        self.report.bytes += payload.as_ref().map_or(0, |payload| payload.len() as u64);
        if let Some(problem) = manifest_problem(digest, &record, payload.as_ref()) {
            self.found(Finding::of_manifest(format!("{name}@{digest}"), problem, Vec::from([name.to_string()])));
        }
        Ok(())
    }

    /// Every deleted manifest is there byte for byte, so that it can be undeleted, and every deleted tag names one that is
    /// there, deleted or not (SPEC X14).
    async fn deleted(&mut self, name: &Repository) -> Result<(), Error> {
        let repositories = || Vec::from([name.to_string()]);
        let prefix = keys::deleted_in(name);
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(self.call).await? {
            for digest in page.iter().filter_map(|(key, _)| prefix.rest(key).parse::<Digest>().ok()) {
                let key = keys::deleted(name, &digest);
                let [Some(value), payload] = self.call.get([key.clone(), keys::deleted_payload(name, &digest)]).await?
                else {
                    continue;
                };
                let Some(DeletedRecord { manifest, .. }) = self.read(&key, &value, name, HEALS_DELETED) else {
                    continue;
                };
                self.report.bytes += payload.as_ref().map_or(0, |payload| payload.len() as u64);
                if let Some(problem) = manifest_problem(&digest, &manifest, payload.as_ref()) {
                    let what = format!("deleted manifest {name}@{digest}");
                    self.found(Finding { what, problem, repositories: repositories(), remedy: HEALS_DELETED.into() });
                }
            }
        }
        let prefix = keys::deleted_tags(name);
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(self.call).await? {
            for (key, _) in page {
                let [Some(value)] = self.call.get([key.clone()]).await? else { continue };
                let read = self.read(&key, &value, name, HEALS_DELETED);
                let Some(DeletedTagRecord { tag: TagRecord { digest, .. }, .. }) = read else { continue };
                let (there, deleted) = (keys::manifest(name, &digest), keys::deleted(name, &digest));
                let [now, there, deleted] = self.call.get([key.clone(), there, deleted]).await?;
                if there.is_none() && deleted.is_none() && now == Some(value) {
                    let problem = format!("it names {digest}, which is not there and was not deleted");
                    let what = format!("deleted tag {name}:{}", prefix.rest(&key));
                    self.found(Finding { what, problem, repositories: repositories(), remedy: HEALS_DELETED.into() });
                }
            }
        }
        Ok(())
    }

    /// Every blob that a repository holds has a record.
    async fn links(&mut self, name: &Repository) -> Result<(), Error> {
        let prefix = keys::links(name);
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(self.call).await? {
            for (key, _) in page {
                let Ok(digest) = prefix.rest(&key).parse::<Digest>() else { continue };
                let [link, blob, holder] =
                    self.call.get([key, keys::blob(&digest), keys::holder(&digest, name)]).await?;
                if link.is_some() && (blob.is_none() || holder.is_none()) {
                    let problem = match blob {
                        None => "nothing says where its bytes are",
                        Some(_) => "garbage collection does not know that the repository holds it",
                    };
                    let (what, repositories) = (format!("blob {name}@{digest}"), Vec::from([name.to_string()]));
                    let remedy = HEALS_BLOB.into();
                    self.found(Finding { what, problem: problem.into(), repositories, remedy });
                }
            }
        }
        Ok(())
    }

    /// Every blob is there byte for byte.
    async fn blobs(&mut self) -> Result<(), Error> {
        let prefix = keys::blobs();
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(self.call).await? {
            for (key, value) in page {
                let Ok(digest) = prefix.rest(&key).parse::<Digest>() else { continue };
                self.report.blobs += 1;
                self.blob(&digest, key, value).await?;
            }
        }
        Ok(())
    }

    async fn blob(&mut self, digest: &Digest, key: Key, value: Value) -> Result<(), Error> {
        let problem = match record::decode::<BlobRecord>(&key, &value) {
            Ok(record) => {
                let Examined { bytes, problem, .. } = match self.call.examine(digest, &record).await {
                    Err(Error::Storage(Fault::Failed(reason))) if self.failures < FAILURES => {
                        self.failures += 1;
                        let (problem, remedy) = (format!("it cannot be judged: {reason}"), HEALS_STORAGE.into());
                        let what = format!("blob {digest}");
                        self.found(Finding { what, problem, repositories: Vec::new(), remedy });
                        return Ok(());
                    }
                    examined => examined?,
                };
                self.failures = 0;
                self.report.bytes += bytes;
                problem
            }
            Err(damaged) => Some(unreadable(&damaged)),
        };
        let Some(problem) = problem else { return Ok(()) };
        let [now] = self.call.get([key]).await?;
        if now == Some(value) {
            let repositories = self.call.holders(digest).await?;
            self.found(Finding::of_blob(digest, problem, repositories));
        }
        Ok(())
    }
}
