//! Blobs of several objects that become one object each, so that a host can send clients to where the bytes are: of several
//! objects there is no one place (SPEC C12).
//!
//! Pushes join nothing for this: their last request answers in the time of one commit. It is done in the background
//! instead, a blob a call, since a call may commit for a limited time after its first object (the
//! [stall rule](crate::stall)).
//!
//! Bytes are copied, hashed, and only then is the blob's record changed, expecting it as it was read. The same commit
//! releases the objects that it has named, which a later collection erases. A crash before the commit leaves one object
//! that no record names, which garbage collection takes.

use alloc::vec::Vec;

use super::batch::{Batch, Found};
use super::pages::Pages;
use super::release::release;
use super::upload::objects;
use super::{Call, fault};
use crate::config::{Gathered, LARGEST_GATHERED};
use crate::digest::Digest;
use crate::effect::{Committed, Durability, Fault, Join, Measure};
use crate::error::Error;
use crate::keys::{self, Key};
use crate::meter::Meter;
use crate::object::ObjectId;
use crate::record::{BlobRecord, Extent, Owner};

/// How far blobs have been gathered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gathering {
    /// The blob of this key was looked at, and there may be more behind it. It is one object now; or is not, because
    /// another call was faster, or its bytes cannot be copied.
    At(Key, Result<bool, Fault>),
    /// There is none any more.
    Over,
}

impl Call {
    /// Makes the next blob behind `after` one object that is to be one.
    pub(crate) async fn gather(&self, after: Option<Key>) -> Result<Gathering, Error> {
        let Some(gathered) = &self.config.gathered else { return Ok(Gathering::Over) };
        let prefix = keys::blobs();
        let mut pages = Pages::after(&prefix, after);
        while let Some(page) = pages.next(self).await? {
            for (key, value) in page {
                let Ok(digest) = prefix.rest(&key).parse::<Digest>() else { continue };
                // Garbage collection counts and names records that do not read.
                let Ok(Some(blob)) = Found::<BlobRecord>::read(key.clone(), Some(value)) else { continue };
                if gathered.takes(&blob.record) && self.is_held_in(gathered, &digest).await? {
                    return Ok(Gathering::At(key, self.gather_blob(&digest, &blob).await.map_err(fault)));
                }
            }
        }
        Ok(Gathering::Over)
    }

    /// Whether a repository that it speaks of holds the blob.
    async fn is_held_in(&self, gathered: &Gathered, blob: &Digest) -> Result<bool, Error> {
        let prefix = keys::holders(blob);
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(self).await? {
            let names = page.iter().filter_map(|(key, _)| prefix.rest(key).parse().ok());
            if names.into_iter().any(|name| gathered.repositories.iter().any(|pattern| pattern.matches(&name))) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Copies the objects of a blob into one. `false` when the blob is gone or another one has done so meanwhile.
    async fn gather_blob(&self, digest: &Digest, blob: &Found<BlobRecord>) -> Result<bool, Error> {
        let BlobRecord { size, extents, .. } = &blob.record;
        let into = ObjectId { nonce: self.ambient.nonce, index: 1 };
        let stray = || Vec::from([into]);
        match self.io.ask(Join { from: objects(extents), into }).await {
            Ok(true) => {}
            Ok(false) => {
                self.erase(stray()).await;
                return Ok(false);
            }
            Err(fault) => {
                self.erase(stray()).await;
                return Err(fault.into());
            }
        }
        let meter = Meter::new(digest.algorithm());
        // Garbage collection takes it from a call that was held up for too long.
        let Some(copied) = self.ask(Measure { objects: stray(), meter }).await? else { return Ok(false) };
        if copied.count() != *size || copied.digest() != *digest {
            self.erase(stray()).await;
            let wrong = alloc::format!("the bytes of {digest} are not those of its digest: it stays as it is");
            return Err(Fault::Failed(wrong).into());
        }
        let mut batch = Batch::default();
        batch.expect(blob.unchanged());
        // Whatever is kept: pulls have found them, and open one after the other.
        extents.iter().for_each(|extent| release(&mut batch, extent, self.ambient.now));
        let extent = Extent { object: into, size: *size, small: false };
        batch.put(blob.key.clone(), &BlobRecord::sound(*size, Vec::from([extent])));
        batch.put(keys::object(&into), &Owner::Blob(*digest));
        if self.commit(batch, Durability::Durable).await? == Committed::Conflict {
            self.erase(stray()).await;
            return Ok(false);
        }
        Ok(true)
    }
}

impl Gathered {
    /// Whether a blob is to be one object, and is not: of those whose first bytes lie among the records, it stays so.
    fn takes(&self, blob: &BlobRecord) -> bool {
        let several = blob.extents.len() > 1 && !blob.extents.iter().any(|extent| extent.small);
        several && blob.quarantined.is_none() && (self.from..=LARGEST_GATHERED).contains(&blob.size)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;
    use crate::config::Pattern;
    use crate::digest::Algorithm;
    use crate::memory::{Memory, RequestBody, request};
    use crate::{Config, Registry, record};

    fn registry(gathered: Option<Gathered>) -> Registry {
        Registry::new(Config { small_object: 2, gathered, ..Config::default() })
    }

    /// Pushes a blob to `a` in such chunks.
    fn push(memory: &mut Memory, chunks: &[&'static str]) -> Digest {
        let registry = registry(None);
        let opened = memory.call(&registry, &request("POST", "/v2/a/blobs/uploads/"), Vec::new());
        let session = opened.header("Location").unwrap().to_string();
        for chunk in chunks {
            let taken = memory.call(&registry, &request("PATCH", session.as_str()), chunk.as_bytes().to_vec());
            assert_eq!(taken.status, 202);
        }
        let digest = Algorithm::Sha256.digest(chunks.concat().as_bytes());
        let put = request("PUT", alloc::format!("{session}?digest={digest}"));
        assert_eq!(memory.call(&registry, &put, Vec::new()).status, 201);
        digest
    }

    fn gathered(repositories: &str, from: u64) -> Option<Gathered> {
        Some(Gathered { repositories: vec![Pattern::new(repositories)], from })
    }

    /// Gathers all that there is to gather: how many blobs that were.
    fn gather(memory: &mut Memory, gathered: Option<Gathered>) -> Result<usize, Fault> {
        let registry = registry(gathered);
        let (mut after, mut count) = (None, 0);
        loop {
            let step = registry.gather(after.take(), memory.ambient());
            match memory.run(step, &RequestBody::default())? {
                Gathering::At(key, done) => {
                    count += usize::from(done?);
                    after = Some(key);
                }
                Gathering::Over => return Ok(count),
            }
        }
    }

    /// What a blob is answered with, and how many objects it has.
    fn get(memory: &mut Memory, digest: &Digest) -> (u16, usize) {
        let answer = memory.call(&registry(None), &request("GET", alloc::format!("/v2/a/blobs/{digest}")), Vec::new());
        let key = keys::blob(digest);
        let record: BlobRecord = record::decode(&key, &memory.records[&key]).unwrap();
        (answer.status, record.extents.len())
    }

    #[test]
    fn blobs_of_several_objects_become_one_where_that_is_wanted() {
        let mut memory = Memory::new();
        let all = [vec!["abc", "def"], vec!["ghi", "jkl", "mno"], vec!["x", "yz0"], vec!["pqr"]];
        let digests: Vec<Digest> = all.iter().map(|chunks| push(&mut memory, chunks)).collect();
        let before = memory.objects.len();
        for not in [None, gathered("b", 0), gathered("*", 100)] {
            assert_eq!(gather(&mut memory, not), Ok(0));
        }
        assert_eq!(memory.objects.len(), before);
        assert_eq!(gather(&mut memory, gathered("*", 9)), Ok(1), "the one that is large enough");
        assert_eq!(gather(&mut memory, gathered("a", 0)), Ok(1), "but for the one that begins among the records");
        assert_eq!(gather(&mut memory, gathered("a", 0)), Ok(0));
        let pieces: Vec<_> = digests.iter().map(|digest| get(&mut memory, digest)).collect();
        assert_eq!(pieces, [(200, 1), (200, 1), (200, 2), (200, 1)]);
        let family = keys::all_released();
        let released = memory.records.keys().filter(|key| !family.rest(key).is_empty()).count();
        assert_eq!((memory.objects.len(), released), (9, 5), "those that were joined stay for pulls that have begun");
    }

    #[test]
    fn wrong_bytes_stay_where_they_are() {
        let mut memory = Memory::new();
        push(&mut memory, &["abc", "def"]);
        let (object, (bytes, _)) = memory.objects.iter_mut().next().unwrap();
        let object = *object;
        *bytes = "abd".into();
        let records = memory.records.clone();
        let failed = gather(&mut memory, gathered("a", 0)).unwrap_err();
        assert!(failed.to_string().contains("are not those of its digest"), "{failed}");
        assert_eq!((memory.records.clone(), memory.objects.len()), (records, 2));
        memory.objects.remove(&object);
        assert_eq!(gather(&mut memory, gathered("a", 0)), Ok(0), "an object is missing");
        assert_eq!(memory.objects.len(), 1);
    }
}
