//! Eviction: a mirror that has more bytes than it may loses the blobs that were not pulled for longest (SPEC V19).
//!
//! When a blob was pulled is written down once an hour at most, so it is known to the hour. Two readings of the records
//! take the place of a list of all blobs in memory: the first sums up how many bytes were last pulled in which hour, the
//! second takes out those of the oldest hours. Each goes by a commit that expects it not to have been pulled since.
//! Manifests and tags stay: they are small, and a pull by them fetches what was evicted.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use serde::Serialize;

use crate::ambient::Timestamp;
use crate::config::PULLED_COARSELY;
use crate::digest::Digest;
use crate::effect::{Committed, Durability, Expect, Get, Value};
use crate::error::Error;
use crate::flows::Call;
use crate::flows::batch::{Batch, Found};
use crate::flows::blob::take_blob;
use crate::flows::pages::Pages;
use crate::keys::{self, Key};
use crate::mirror::Mirror;
use crate::name::Repository;
use crate::record::{self, BlobRecord, LinkRecord, PulledRecord};

/// What an eviction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Eviction {
    /// Blobs taken out of a repository.
    pub blobs: u64,
    /// The bytes they have.
    pub bytes: u64,
}

/// A blob of a mirror, and when it was last pulled.
pub(super) struct Held {
    name: Repository,
    digest: Digest,
    size: u64,
    link: Key,
    linked: Value,
    pulled: Option<Value>,
    last: Timestamp,
    /// Whether the upstream can give it again.
    pub(super) fetched: bool,
}

impl Held {
    /// The hour in which it was last pulled.
    fn hour(&self) -> u64 {
        self.last.0 / u64::try_from(PULLED_COARSELY.as_millis()).unwrap_or(u64::MAX)
    }
}

impl Call {
    /// Notes that a blob of a mirror is pulled, once the client has its answer, unless that was noted lately.
    pub(in crate::flows) fn note_pulled(
        &self,
        name: &Repository,
        digest: &Digest,
        linked: &Value,
        pulled: Option<&Value>,
    ) {
        let (link, key) = (keys::link(name, digest), keys::pulled(name, digest));
        let last = last_pulled(&link, linked, &key, pulled);
        if last.is_some_and(|last| self.ambient.now.since(last) < PULLED_COARSELY) {
            return;
        }
        let call = self.detached();
        self.io.defer(move |io| async move {
            let call = call(io);
            let mut batch = Batch::default();
            // One that was evicted or deleted meanwhile leaves nothing.
            batch.expect(Expect::Present(link));
            batch.put(key, &PulledRecord::at(call.ambient.now));
            let _ = call.commit(batch, Durability::Eventual).await;
        });
    }

    /// Takes blobs out of every mirror that has more bytes than it may, until a little less is left.
    pub(crate) async fn evict(&self) -> Result<Eviction, Error> {
        let mut eviction = Eviction::default();
        for mirror in &self.config.mirrors {
            let Some(most) = mirror.max else { continue };
            let held = self.bytes_of(mirror).await?;
            if held > most {
                // A little more than it must, so that it need not begin again with the next fetch.
                self.evict_from(mirror, held - most + most / 32, &mut eviction).await?;
            }
        }
        Ok(eviction)
    }

    /// How many bytes the repositories of a mirror have.
    async fn bytes_of(&self, mirror: &Mirror) -> Result<u64, Error> {
        let prefix = keys::usages().narrowed(&mirror.prefix);
        let mut bytes = 0u64;
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(self).await? {
            for (key, value) in page {
                let name = keys::usages().rest(&key).parse::<Repository>();
                if name.is_ok_and(|name| self.is_of(mirror, &name)) {
                    bytes = bytes.saturating_add(record::count(Some(&value)));
                }
            }
        }
        Ok(bytes)
    }

    /// Whether a repository belongs to this mirror, and not to one with a longer prefix.
    fn is_of(&self, mirror: &Mirror, name: &Repository) -> bool {
        self.config.mirror_of(name).is_some_and(|its| its.prefix == mirror.prefix)
    }

    async fn evict_from(&self, mirror: &Mirror, bytes: u64, eviction: &mut Eviction) -> Result<(), Error> {
        let prefix = keys::all_links().narrowed(&mirror.prefix);
        let mut hours: BTreeMap<u64, u64> = BTreeMap::new();
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(self).await? {
            for held in self.held(mirror, page).await?.iter().filter(|held| held.fetched) {
                *hours.entry(held.hour()).or_default() += held.size;
            }
        }
        // All of the hours before `last`, and of that one so many bytes. When all of them are not enough, because manifests
        // have the rest, all go.
        let (mut left, mut last) = (bytes, u64::MAX);
        for (hour, size) in hours {
            if size >= left {
                last = hour;
                break;
            }
            left -= size;
        }
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(self).await? {
            for held in self.held(mirror, page).await?.into_iter().filter(|held| held.fetched) {
                let goes = held.hour() < last || held.hour() == last && left > 0;
                if goes && self.evict_blob(&held).await? {
                    eviction.blobs += 1;
                    eviction.bytes = eviction.bytes.saturating_add(held.size);
                    if held.hour() == last {
                        left = left.saturating_sub(held.size);
                    }
                }
            }
        }
        Ok(())
    }

    /// The blobs of a page of links, with their sizes and when they were last pulled. A record that does not read is
    /// garbage collection's to name.
    pub(super) async fn held(&self, mirror: &Mirror, page: Vec<(Key, Value)>) -> Result<Vec<Held>, Error> {
        let links = keys::all_links();
        let named = page.into_iter().filter_map(|(link, linked)| {
            let (name, digest) = links.rest(&link).rsplit_once('@')?;
            let (name, digest) = (name.parse().ok()?, digest.parse().ok()?);
            self.is_of(mirror, &name).then_some((link, linked, name, digest))
        });
        let named: Vec<(Key, Value, Repository, Digest)> = named.collect();
        let both =
            |(_, _, name, digest): &(Key, Value, Repository, Digest)| [keys::blob(digest), keys::pulled(name, digest)];
        let keys: Vec<Key> = named.iter().flat_map(both).collect();
        let mut values = self.ask(Get { keys }).await?.into_iter();
        let mut found = Vec::new();
        for (link, linked, name, digest) in named {
            let (Some(blob), Some(pulled)) = (values.next(), values.next()) else { break };
            let blob = blob.and_then(|blob| record::decode::<BlobRecord>(&keys::blob(&digest), &blob).ok());
            let last = last_pulled(&link, &linked, &keys::pulled(&name, &digest), pulled.as_ref());
            if let (Some(BlobRecord { size, .. }), Some(last)) = (blob, last) {
                let fetched = record::decode::<LinkRecord>(&link, &linked).is_ok_and(|link| link.fetched);
                found.push(Held { name, digest, size, link, linked, pulled, last, fetched });
            }
        }
        Ok(found)
    }

    /// Takes a blob out of its repository if it has not been pulled since it was looked at and, when no other holds it, out
    /// of the registry. A crash in between leaves that to garbage collection.
    pub(super) async fn evict_blob(&self, held: &Held) -> Result<bool, Error> {
        let Held { name, digest, size, link, linked, pulled, .. } = held;
        let mut batch = Batch::reclaiming();
        batch.expect(Expect::Exactly(link.clone(), linked.clone()));
        let key = keys::pulled(name, digest);
        batch.expect(match pulled {
            Some(pulled) => Expect::Exactly(key, pulled.clone()),
            None => Expect::Absent(key),
        });
        take_blob(&mut batch, name, digest, *size);
        if self.commit(batch, Durability::Eventual).await? == Committed::Conflict {
            return Ok(false);
        }
        let Some(blob): Option<Found<BlobRecord>> = self.find(keys::blob(digest)).await? else { return Ok(true) };
        let (batch, left) = self.unheld(digest, &blob);
        if self.commit(batch, Durability::Durable).await? == Committed::Done {
            self.erase(left).await;
        }
        Ok(true)
    }
}

/// When a blob was last pulled, or else brought: as of records that read.
fn last_pulled(link: &Key, linked: &Value, key: &Key, pulled: Option<&Value>) -> Option<Timestamp> {
    let linked = record::decode::<LinkRecord>(link, linked).ok()?.linked;
    let pulled = pulled.and_then(|pulled| record::decode::<PulledRecord>(key, pulled).ok());
    Some(pulled.map_or(linked, |record| record.pulled.max(linked)))
}
