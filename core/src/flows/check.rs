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

use super::blob::Source;
use super::pages::Pages;
use super::upload::objects;
use super::{Call, fault};
use crate::digest::Digest;
use crate::effect::{Get, Measure, Value};
use crate::error::Error;
use crate::keys::{self, Key};
use crate::meter::Meter;
use crate::name::{Repository, Tag};
use crate::object::ObjectId;
use crate::record::{self, BlobRecord, Damaged, DeletedRecord, DeletedTagRecord, ManifestRecord, Owner, TagRecord};

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
        let mut check = Check { call: self, report: CheckReport::default() };
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
    async fn holders(&self, digest: &Digest) -> Result<Vec<String>, Error> {
        let holders = keys::holders(digest);
        let page = self.scan(&holders, None).await?;
        Ok(page.iter().map(|(key, _)| holders.rest(key).into()).collect())
    }
}

/// A check under way.
struct Check<'c> {
    call: &'c Call,
    report: CheckReport,
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

    fn found(&mut self, what: String, problem: String, repositories: Vec<String>) {
        self.report.problems += 1;
        if self.report.findings.len() < NAMED {
            self.report.findings.push(Finding { what, problem, repositories });
        }
    }

    /// A record, or none, if it does not read: then that is found.
    fn read<T: DeserializeOwned>(&mut self, key: &Key, value: &Value, repositories: &[&Repository]) -> Option<T> {
        match record::decode(key, value) {
            Ok(record) => Some(record),
            Err(Damaged { key, reason }) => {
                let problem = format!("the record does not read: {reason}");
                self.found(format!("record {key:?}"), problem, repositories.iter().map(ToString::to_string).collect());
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
        let Some(TagRecord { digest, .. }) = self.read(&key, &value, &[name]) else { return Ok(()) };
        let [now, manifest] = self.call.get([key, keys::manifest(name, &digest)]).await?;
        if manifest.is_none() && now == Some(value) {
            let problem = format!("it names {digest}, which the repository does not have");
            self.found(format!("tag {name}:{tag}"), problem, Vec::from([name.to_string()]));
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
        let Some(ManifestRecord { size, .. }) = self.read(&key, &value, &[name]) else { return Ok(()) };
        if let Some(problem) = self.wrong(digest, payload.as_ref(), size) {
            self.found(format!("manifest {name}@{digest}"), problem, Vec::from([name.to_string()]));
        }
        Ok(())
    }

    /// What is wrong with the bytes of a manifest.
    fn wrong(&mut self, digest: &Digest, payload: Option<&Value>, size: u64) -> Option<String> {
        let actual = payload.map(|payload| (digest.algorithm().digest(payload), payload.len() as u64));
        self.report.bytes += actual.map_or(0, |(_, size)| size);
        match actual {
            None => Some("its bytes are missing".into()),
            Some((actual, _)) if actual != *digest => Some(format!("its bytes have the digest {actual}")),
            Some((_, actual)) if actual != size => Some(format!("it has {actual} bytes, its record says {size}")),
            Some(_) => None,
        }
    }

    /// Every deleted manifest is there byte for byte, so that it can be undeleted, and every deleted tag names one that is
    /// there, deleted or not (SPEC X14).
    async fn deleted(&mut self, name: &Repository) -> Result<(), Error> {
        let prefix = keys::deleted_in(name);
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(self.call).await? {
            for digest in page.iter().filter_map(|(key, _)| prefix.rest(key).parse::<Digest>().ok()) {
                let key = keys::deleted(name, &digest);
                let [Some(value), payload] = self.call.get([key.clone(), keys::deleted_payload(name, &digest)]).await?
                else {
                    continue;
                };
                let Some(DeletedRecord { manifest, .. }) = self.read(&key, &value, &[name]) else { continue };
                if let Some(problem) = self.wrong(&digest, payload.as_ref(), manifest.size) {
                    self.found(format!("deleted manifest {name}@{digest}"), problem, Vec::from([name.to_string()]));
                }
            }
        }
        let prefix = keys::deleted_tags(name);
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(self.call).await? {
            for (key, _) in page {
                let [Some(value)] = self.call.get([key.clone()]).await? else { continue };
                let Some(DeletedTagRecord { tag: TagRecord { digest, .. }, .. }) = self.read(&key, &value, &[name])
                else {
                    continue;
                };
                let (there, deleted) = (keys::manifest(name, &digest), keys::deleted(name, &digest));
                let [now, there, deleted] = self.call.get([key.clone(), there, deleted]).await?;
                if there.is_none() && deleted.is_none() && now == Some(value) {
                    let problem = format!("it names {digest}, which is not there and was not deleted");
                    let tag = prefix.rest(&key);
                    self.found(format!("deleted tag {name}:{tag}"), problem, Vec::from([name.to_string()]));
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
                    self.found(format!("blob {name}@{digest}"), problem.into(), Vec::from([name.to_string()]));
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
            Ok(record) => self.problem(digest, &record).await?,
            Err(Damaged { reason, .. }) => Some(format!("the record does not read: {reason}")),
        };
        let Some(problem) = problem else { return Ok(()) };
        let [now] = self.call.get([key]).await?;
        if now == Some(value) {
            let repositories = self.call.holders(digest).await?;
            self.found(format!("blob {digest}"), problem, repositories);
        }
        Ok(())
    }

    /// What is wrong with a blob.
    async fn problem(&mut self, digest: &Digest, blob: &BlobRecord) -> Result<Option<String>, Error> {
        let Some(Source { extents, first }) = self.call.source(&blob.extents).await? else {
            return Ok(Some("its bytes are missing among the records".into()));
        };
        let mut meter = Meter::new(digest.algorithm());
        first.iter().for_each(|bytes| meter.update(bytes));
        let objects = objects(extents);
        if !objects.is_empty() {
            if let Some(object) = self.not_named(digest, &objects).await? {
                return Ok(Some(format!("the object {object} is not known to belong to it")));
            }
            // One by one, so that the one that is missing has a name.
            for object in objects {
                match self.call.ask(Measure { objects: Vec::from([object]), meter }).await? {
                    Some(measured) => meter = measured,
                    None => return Ok(Some(format!("its object {object} is missing"))),
                }
            }
        }
        self.report.bytes += meter.count();
        Ok(match meter.digest() {
            actual if actual != *digest => Some(format!("its {} bytes have the digest {actual}", meter.count())),
            _ if meter.count() != blob.size => {
                Some(format!("it has {} bytes, its record says {}", meter.count(), blob.size))
            }
            _ => None,
        })
    }

    /// The first of these objects that is not said to belong to the blob.
    async fn not_named(&self, digest: &Digest, objects: &[ObjectId]) -> Result<Option<ObjectId>, Error> {
        let keys: Vec<Key> = objects.iter().map(keys::object).collect();
        let owners = self.call.ask(Get { keys: keys.clone() }).await?;
        let names = |(key, value): (&Key, &Option<Value>)| {
            let owner = value.as_ref().and_then(|value| record::decode::<Owner>(key, value).ok());
            owner == Some(Owner::Blob(*digest))
        };
        let wrong = keys.iter().zip(&owners).position(|one| !names(one));
        Ok(wrong.and_then(|place| objects.get(place).copied()))
    }
}
