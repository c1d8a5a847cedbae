//! A registry is copied as a whole from one storage to another.
//!
//! The target is claimed by a `meta/storage` record of [format 0](UNFINISHED), which no version serves. It also says
//! which registry is copied and how far that has come, and it is written anew by each commit that takes records in: so
//! a copy that was interrupted at any point goes on where the last commit was, and two copies into one target notice
//! each other. The last commit puts the `meta/storage` of the source in its place.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::batch::{Batch, Found};
use super::meta::Format;
use super::{Call, fault};
use crate::digest::{Algorithm, Digest};
use crate::effect::{Committed, Durability, Expect, Fault, Inventory, Scan, Value};
use crate::error::Error;
use crate::keys::{self, Key, Prefix};
use crate::object::ObjectId;
use crate::record::{self, BlobRecord, Damaged, Extent, FORMAT, UNFINISHED, UnfinishedRecord};

/// A registry that is to be copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Departure {
    /// Which registry it is: the same for as long as it has the same session key.
    pub registry: Digest,
    /// Its `meta/storage` record.
    meta: Value,
}

impl Departure {
    /// Its `meta/storage` record, which the copy has when it is complete.
    pub fn meta(&self) -> (Key, Value) {
        (keys::meta(), self.meta.clone())
    }
}

/// A copy under way, as the target records it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    record: UnfinishedRecord,
}

impl Arrival {
    /// Up to which key records were copied, if any was.
    pub fn copied(&self) -> Option<Key> {
        self.record.copied.clone().map(Key::stored)
    }

    /// Whether all records were copied.
    pub fn is_copied(&self) -> bool {
        self.record.complete
    }

    /// Up to which key the copy was compared with the source, if any was.
    pub fn compared(&self) -> Option<Key> {
        self.record.compared.clone().map(Key::stored)
    }
}

/// Why a registry cannot be copied from or to a storage. Nothing was written then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Immovable {
    /// The source has no registry.
    NoRegistry,
    /// The source is itself a copy that is not complete.
    Unfinished,
    /// The source has another format.
    Format {
        /// The format that it has.
        found: u32,
        /// The format that this version reads and writes.
        ours: u32,
    },
    /// The target has this registry: the copy is complete.
    Complete,
    /// The target has another registry, or records of one.
    Records,
    /// The target has objects, which belong to another registry.
    Objects,
    /// The target is an unfinished copy of another registry.
    Other,
    /// Another process copies to the target at the same time.
    Overtaken,
    /// The storage failed.
    Storage(Fault),
}

/// A run of bytes that a record names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Run {
    /// This object, with so many bytes.
    Object(ObjectId, u64),
    /// The value of this record, with so many bytes.
    Record(Key, u64),
}

/// The bytes that a record names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Their digest, if it is known: that of a blob is.
    pub digest: Option<Digest>,
    /// What they are made of, in order.
    pub runs: Vec<Run>,
    /// They are known to be damaged, and out of use.
    pub quarantined: bool,
}

impl Named {
    fn new(digest: Option<Digest>, extents: &[Extent]) -> Self {
        let run = |extent: &Extent| match extent.small {
            true => Run::Record(keys::bytes(&extent.object), extent.size),
            false => Run::Object(extent.object, extent.size),
        };
        Self { digest, runs: extents.iter().map(run).collect(), quarantined: false }
    }

    /// How many bytes there are.
    pub fn size(&self) -> u64 {
        self.runs
            .iter()
            .map(|run| match run {
                Run::Object(_, size) | Run::Record(_, size) => *size,
            })
            .sum()
    }

    /// The objects among them, with their sizes.
    pub fn objects(&self) -> impl Iterator<Item = (ObjectId, u64)> {
        self.runs.iter().filter_map(|run| match run {
            Run::Object(object, size) => Some((*object, *size)),
            Run::Record(..) => None,
        })
    }
}

/// The bytes that a record of a registry names; `None` for records that name none.
///
/// # Errors
///
/// When the record does not read.
pub fn named(key: &Key, value: &Value) -> Result<Option<Named>, Damaged> {
    let blobs = keys::blobs();
    Ok(if key.as_str().starts_with(blobs.as_str()) {
        let BlobRecord { extents, quarantined, .. } = record::decode(key, value)?;
        let named = Named::new(blobs.rest(key).parse().ok(), &extents);
        Some(Named { quarantined: quarantined.is_some(), ..named })
    } else if key.as_str().starts_with(keys::all_chunks().as_str()) {
        Some(Named::new(None, &[record::decode(key, value)?]))
    } else {
        None
    })
}

impl Call {
    /// Looks at a registry that is to be copied. Nothing is written.
    pub(crate) async fn depart(&self) -> Result<Departure, Immovable> {
        let [meta, session_key] = self.get([keys::meta(), keys::session_key()]).await?;
        let Some(meta) = meta else { return Err(Immovable::NoRegistry) };
        match format_of(&meta)? {
            FORMAT => {}
            UNFINISHED => return Err(Immovable::Unfinished),
            found => return Err(Immovable::Format { found, ours: FORMAT }),
        }
        Ok(Departure { registry: registry_of(session_key.as_ref()), meta })
    }

    /// Claims an empty storage for the copy of a registry, or goes on with one that was interrupted.
    pub(crate) async fn arrive(&self, departure: &Departure) -> Result<Arrival, Immovable> {
        let [found, session_key] = self.get([keys::meta(), keys::session_key()]).await?;
        if let Some(value) = found {
            if format_of(&value)? != UNFINISHED {
                let same = registry_of(session_key.as_ref()) == departure.registry;
                return Err(if same { Immovable::Complete } else { Immovable::Records });
            }
            let record: UnfinishedRecord = record::decode(&keys::meta(), &value).map_err(Error::from)?;
            return if record.registry == departure.registry { Ok(Arrival { record }) } else { Err(Immovable::Other) };
        }
        if !self.has_nothing().await? {
            return Err(Immovable::Records);
        }
        if !self.ask(Inventory { after: None, limit: 1 }).await?.is_empty() {
            return Err(Immovable::Objects);
        }
        let record = UnfinishedRecord {
            format: UNFINISHED,
            registry: departure.registry,
            by: self.ambient.nonce,
            copied: None,
            complete: false,
            compared: None,
        };
        let mut batch = Batch::default();
        batch.expect(Expect::Absent(keys::meta()));
        batch.put(keys::meta(), &record);
        match self.commit(batch, Durability::Durable).await? {
            Committed::Done => Ok(Arrival { record }),
            Committed::Conflict => Err(Immovable::Overtaken),
        }
    }

    /// Whether no record is there that a registry would have.
    async fn has_nothing(&self) -> Result<bool, Error> {
        let all = Prefix::stored("");
        let mut after = None;
        loop {
            let page = self.ask(Scan { prefix: all.clone(), after, limit: 100, bytes: 1 << 20 }).await?;
            if page.iter().any(|(key, _)| keys::is_copied(key)) {
                return Ok(false);
            }
            let Some((last, _)) = page.into_iter().next_back() else { return Ok(true) };
            after = Some(last);
        }
    }

    /// Takes in the next records, whose objects are there. An empty page is the end.
    pub(crate) async fn take_in(&self, arrival: &Arrival, page: Vec<(Key, Value)>) -> Result<Arrival, Immovable> {
        let mut record = arrival.record.clone();
        match page.last() {
            Some((last, _)) => record.copied = Some(last.as_str().into()),
            None => record.complete = true,
        }
        let put = page.into_iter().filter(|(key, _)| keys::is_copied(key)).collect();
        self.proceed(arrival, record, put).await
    }

    /// Notes up to which key the copy is like the source; without one, that it is to be compared from its beginning.
    pub(crate) async fn note_compared(&self, arrival: &Arrival, last: Option<&Key>) -> Result<Arrival, Immovable> {
        let compared = last.map(|last| last.as_str().into());
        self.proceed(arrival, UnfinishedRecord { compared, ..arrival.record.clone() }, Vec::new()).await
    }

    async fn proceed(
        &self,
        before: &Arrival,
        record: UnfinishedRecord,
        put: Vec<(Key, Value)>,
    ) -> Result<Arrival, Immovable> {
        let record = UnfinishedRecord { by: self.ambient.nonce, ..record };
        let mut batch = Batch::default();
        batch.put = put;
        batch.expect(Found::written(keys::meta(), before.record.clone()).unchanged());
        batch.put(keys::meta(), &record);
        match self.commit(batch, Durability::Durable).await? {
            Committed::Done => Ok(Arrival { record }),
            Committed::Conflict => Err(Immovable::Overtaken),
        }
    }

    /// Ends the copy: from now on it can be served.
    pub(crate) async fn settle(&self, arrival: Arrival, departure: Departure) -> Result<(), Immovable> {
        let mut batch = Batch::default();
        batch.expect(Found::written(keys::meta(), arrival.record).unchanged());
        batch.put.push((keys::meta(), departure.meta));
        match self.commit(batch, Durability::Durable).await? {
            Committed::Done => Ok(()),
            Committed::Conflict => Err(Immovable::Overtaken),
        }
    }
}

fn registry_of(session_key: Option<&Value>) -> Digest {
    Algorithm::Sha256.digest(session_key.map_or(&[], |key| key))
}

fn format_of(meta: &Value) -> Result<u32, Error> {
    let Format { format } = record::decode(&keys::meta(), meta)?;
    Ok(format)
}

impl From<Error> for Immovable {
    fn from(error: Error) -> Self {
        Self::Storage(fault(error))
    }
}

impl fmt::Display for Immovable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: String = match self {
            Self::NoRegistry => "there is no registry to copy".into(),
            Self::Unfinished => "it is itself a copy that is not complete: copy from where that one comes from".into(),
            Self::Format { found, ours } => format!(
                "the records have format {found}, and this version of Orlop copies format {ours}: run the version that \
                 wrote them"
            ),
            Self::Complete => "it has this registry already, and the copy is complete: start a server on it".into(),
            Self::Records => "it has a registry already: copy to an empty one".into(),
            Self::Objects => {
                "it has objects without records, which may belong to another registry: copy to an empty one".into()
            }
            Self::Other => "it has an unfinished copy of another registry: go on with that one, or empty it".into(),
            Self::Overtaken => "another process copies to it: leave it to that one".into(),
            Self::Storage(fault) => format!("{fault}"),
        };
        f.write_str(&text)
    }
}

impl core::error::Error for Immovable {}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use core::time::Duration;

    use super::*;
    use crate::memory::{Memory, RequestBody, request};
    use crate::record::SessionKey;
    use crate::{Config, Disagreement, Registry, Step};

    fn registry() -> Registry {
        Registry::new(Config::default())
    }

    fn run<R>(memory: &mut Memory, begin: impl FnOnce(&Registry, crate::Ambient) -> Step<R>) -> R {
        let ambient = memory.ambient();
        memory.run(begin(&registry(), ambient), &RequestBody::default())
    }

    /// A host with a registry of that key, in which a blob of these bytes was pushed.
    fn source(key: u8, bytes: &'static str) -> Memory {
        let mut memory = Memory::new();
        run(&mut memory, |registry, ambient| registry.agree(Some(SessionKey::new([key; 32])), ambient)).unwrap();
        let digest = Algorithm::Sha256.digest(bytes.as_bytes());
        let push = request("POST", format!("/v2/a/blobs/uploads/?digest={digest}"));
        assert_eq!(memory.call(&registry(), &push, bytes.as_bytes().to_vec()).status, 201);
        memory
    }

    fn depart(memory: &mut Memory) -> Departure {
        run(memory, Registry::depart).unwrap()
    }

    fn arrive(memory: &mut Memory, departure: &Departure) -> Result<Arrival, Immovable> {
        run(memory, |registry, ambient| registry.arrive(departure.clone(), ambient))
    }

    fn take_in(memory: &mut Memory, arrival: &Arrival, page: Vec<(Key, Value)>) -> Result<Arrival, Immovable> {
        run(memory, |registry, ambient| registry.take_in(arrival.clone(), page, ambient))
    }

    fn agrees(memory: &mut Memory) -> Result<(), Disagreement> {
        run(memory, |registry, ambient| registry.agree(None, ambient)).map(drop)
    }

    #[test]
    fn a_copy_is_served_when_it_is_complete_and_not_before() {
        let (mut from, mut to) = (source(1, "hello"), Memory::new());
        from.records.insert(Key::of_host("x"), "of the host".into());
        let released = keys::released(&ObjectId::received_by(uuid::Uuid::from_u128(9)));
        from.records.insert(released.clone(), r#"{"released":1,"size":1}"#.into());
        run(&mut from, |registry, ambient| {
            registry.acquire(crate::Job::Gc, uuid::Uuid::from_u128(1), crate::Claim::Free, ambient)
        })
        .unwrap();
        let departure = depart(&mut from);
        let mut arrival = arrive(&mut to, &departure).unwrap();
        for (key, value) in from.records.clone() {
            assert_eq!(agrees(&mut to), Err(Disagreement::Unfinished));
            arrival = take_in(&mut to, &arrival, Vec::from([(key.clone(), value)])).unwrap();
            assert_eq!(arrival.copied(), Some(key));
            // Killed and begun again, it goes on from there.
            assert_eq!(arrive(&mut to, &departure), Ok(arrival.clone()));
        }
        arrival = take_in(&mut to, &arrival, Vec::new()).unwrap();
        assert!(arrival.is_copied());
        assert_eq!(agrees(&mut to), Err(Disagreement::Unfinished));
        run(&mut to, |registry, ambient| registry.settle(arrival, departure.clone(), ambient)).unwrap();
        agrees(&mut to).unwrap();
        assert_eq!(arrive(&mut to, &departure), Err(Immovable::Complete));
        let own = |key: &Key| [Key::of_host("x"), keys::lease(&crate::Job::Gc), released.clone()].contains(key);
        assert_eq!(from.records.keys().filter(|key| own(key)).count(), 3);
        from.records.retain(|key, _| !own(key));
        assert_eq!(to.records, from.records);
    }

    #[test]
    fn only_an_empty_storage_is_copied_to() {
        let mut from = source(1, "hello");
        let departure = depart(&mut from);
        assert_eq!(arrive(&mut source(2, "other"), &departure), Err(Immovable::Records));
        let mut without_meta = Memory::new();
        without_meta.records.insert(keys::repository(&"a".parse().unwrap()), "{}".into());
        assert_eq!(arrive(&mut without_meta, &departure), Err(Immovable::Records));
        let long: &'static str = "x".repeat(100_000).leak();
        let mut objects = source(4, long);
        objects.records.clear();
        assert_eq!(arrive(&mut objects, &departure), Err(Immovable::Objects));
        let mut another = Memory::new();
        arrive(&mut another, &depart(&mut source(5, "another"))).unwrap();
        assert_eq!(arrive(&mut another, &departure), Err(Immovable::Other));
        let mut used_by_hosts = Memory::new();
        used_by_hosts.records.insert(Key::of_host("x"), "1".into());
        arrive(&mut used_by_hosts, &departure).unwrap();
    }

    #[test]
    fn only_a_registry_is_copied_from() {
        assert_eq!(run(&mut Memory::new(), Registry::depart), Err(Immovable::NoRegistry));
        let mut unfinished = Memory::new();
        arrive(&mut unfinished, &depart(&mut source(1, "hello"))).unwrap();
        assert_eq!(run(&mut unfinished, Registry::depart), Err(Immovable::Unfinished));
        let mut newer = Memory::new();
        newer.records.insert(keys::meta(), r#"{"format":3}"#.into());
        let refused = run(&mut newer, Registry::depart).unwrap_err();
        assert!(refused.to_string().contains("format 3"), "{refused}");
    }

    #[test]
    fn of_two_that_copy_at_once_one_is_told_so() {
        let (mut from, mut to) = (source(1, "hello"), Memory::new());
        let departure = depart(&mut from);
        let one = arrive(&mut to, &departure).unwrap();
        let other = arrive(&mut to, &departure).unwrap();
        let page: Vec<(Key, Value)> = from.records.clone().into_iter().collect();
        take_in(&mut to, &one, page.clone()).unwrap();
        assert_eq!(take_in(&mut to, &other, page), Err(Immovable::Overtaken));
    }

    #[test]
    fn the_bytes_of_blobs_and_of_open_uploads_are_named() {
        let long: &'static str = "x".repeat(100_000).leak();
        for (bytes, object) in [("hello", false), (long, true)] {
            let memory = source(1, bytes);
            let found: Vec<Named> =
                memory.records.iter().filter_map(|(key, value)| named(key, value).unwrap()).collect();
            let [one] = found.as_slice() else { panic!("{found:?}") };
            assert_eq!(one.digest, Some(Algorithm::Sha256.digest(bytes.as_bytes())));
            assert_eq!((one.size(), one.objects().count() == 1), (bytes.len() as u64, object));
        }
        let mut memory = source(1, "hello");
        memory.advance(Duration::from_secs(1));
        let opened = memory.call(&registry(), &request("POST", "/v2/a/blobs/uploads/"), Vec::new());
        let place = opened.header("Location").unwrap().to_string();
        assert_eq!(memory.call(&registry(), &request("PATCH", place), long.as_bytes().to_vec()).status, 202);
        let uploads = memory.records.iter().filter_map(|(key, value)| named(key, value).unwrap());
        assert_eq!(uploads.filter(|named| named.digest.is_none() && named.size() == 100_000).count(), 1);
    }
}
