//! A registry is copied from one host's storage to that of another, whatever engines they are.
//!
//! Records go in the order of their keys, a page at a time. The objects that a page names are copied before it, and the
//! commit that takes it in says how far the copy has come; so one that was interrupted goes on with the page after that,
//! and writes anew what it had written of the objects of this one. In the end all records of both are compared, and all
//! bytes of the copy are read and hashed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use orlop_core::Headers;
use orlop_core::digest::{Algorithm, Digest};
use orlop_core::effect::{BodyEnd, Effect, Erase, Get, Measure, Receive, Scan, Value};
use orlop_core::http::Pieces;
use orlop_core::keys::{Key, Prefix, is_copied};
use orlop_core::meter::Meter;
use orlop_core::object::ObjectId;
use orlop_core::step::start;
use orlop_core::{Arrival, Asked, Departure, Fault, Immovable, Method, Named, Registry, Request, Run, named};
use tokio::time::Instant;

use crate::storage::ambient::ambient;
use crate::storage::body::RequestBody;
use crate::storage::run::Host;

/// How many records a page has at most, and how many bytes.
const PAGE: usize = 1000;
const PAGE_BYTES: usize = 4 << 20;

/// After how many bytes of objects a page ends: what an interruption costs at most, but for a single large blob.
const OBJECT_BYTES: u64 = 1 << 30;

/// How many blobs are copied or read at once.
const JOBS: usize = 8;

/// How many objects are removed at once.
const ERASED: usize = 1000;

/// How long the bytes of an object may stop coming.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often it is noted how far the comparison has come.
const NOTE: Duration = Duration::from_secs(10);

/// How far a copy has come.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Records, of which so many are done.
    pub(crate) records: Count,
    /// Bytes of objects, of which so many are done.
    pub(crate) bytes: Count,
    /// Objects that there are.
    pub(crate) objects: AtomicU64,
    /// The records are copied, and what was copied is being read again.
    pub(crate) comparing: std::sync::atomic::AtomicBool,
}

/// How many of how many.
#[derive(Debug, Default)]
pub(crate) struct Count {
    /// All of them, once that is known.
    pub(crate) all: AtomicU64,
    /// Those that are done.
    pub(crate) done: AtomicU64,
}

impl Count {
    fn add(&self, more: u64) {
        self.done.fetch_add(more, Ordering::Relaxed);
    }
}

/// What was copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Copied {
    /// How many records there are.
    pub(crate) records: u64,
    /// The hash over all of them, which is the same in both places.
    pub(crate) hash: Digest,
    /// How many objects they name.
    pub(crate) objects: u64,
    /// How many bytes these have.
    pub(crate) bytes: u64,
    /// Records that do not read, and were copied as they are.
    pub(crate) damaged: Vec<Key>,
    /// Blobs that are in quarantine in the source: they are in the target too, with their bytes only if these are sound.
    pub(crate) quarantined: Vec<Digest>,
}

/// Copies a registry, or goes on with a copy that was interrupted. Nothing else may use either storage meanwhile.
///
/// # Errors
///
/// When there is nothing to copy, the target is not empty, one of them fails, or bytes are not what they should be.
pub(crate) async fn copy(from: &Host, to: &Host, progress: &Arc<Progress>) -> Result<Copied, String> {
    let registry = Registry::new(orlop_core::Config::default());
    let source = |wrong: Immovable| format!("the source cannot be copied: {wrong}");
    let target = |wrong: Immovable| format!("the target cannot be used: {wrong}");
    let departure = from.run(registry.depart(ambient()), &mut RequestBody::empty()).await.map_err(source)?;
    let arrival = to.run(registry.arrive(departure.clone(), ambient()), &mut RequestBody::empty()).await;
    let arrival = arrival.map_err(target)?;
    let mut copying = Copying { from, to, registry, departure, progress };
    let mut copied = copying.survey(arrival.copied()).await?;
    let arrival = copying.copy(arrival).await?;
    progress.comparing.store(true, Ordering::Relaxed);
    progress.bytes.done.store(0, Ordering::Relaxed);
    progress.records.done.store(0, Ordering::Relaxed);
    let (arrival, records, hash) = copying.compare(arrival).await?;
    copying.end(arrival).await?;
    (copied.records, copied.hash) = (records, hash);
    Ok(copied)
}

struct Copying<'h> {
    from: &'h Host,
    to: &'h Host,
    registry: Registry,
    departure: Departure,
    progress: &'h Arc<Progress>,
}

impl Copying<'_> {
    /// Counts what there is, and what of it was copied before.
    async fn survey(&self, before: Option<Key>) -> Result<Copied, String> {
        let empty = Algorithm::Sha256.digest(b"");
        let mut found =
            Copied { records: 0, hash: empty, objects: 0, bytes: 0, damaged: Vec::new(), quarantined: Vec::new() };
        let mut walk = Walk::new(self.from, "source");
        while let Some((key, value)) = walk.next().await? {
            let done = before.as_ref().is_some_and(|before| key <= *before);
            found.records += 1;
            self.progress.records.add(u64::from(done));
            match named(&key, &value) {
                Ok(Some(named)) => {
                    let bytes: u64 = named.objects().map(|(_, size)| size).sum();
                    found.objects += named.objects().count() as u64;
                    found.bytes += bytes;
                    if let Some(digest) = named.digest.filter(|_| named.quarantined) {
                        tracing::warn!("the blob {digest} is in quarantine: what is damaged of it is not copied");
                        found.quarantined.push(digest);
                    }
                    self.progress.bytes.add(if done { bytes } else { 0 });
                }
                Ok(None) => {}
                Err(damaged) => {
                    tracing::warn!("{damaged}; it is copied as it is, without the bytes that it names");
                    found.damaged.push(key);
                }
            }
            self.progress.records.all.store(found.records, Ordering::Relaxed);
            self.progress.objects.store(found.objects, Ordering::Relaxed);
            self.progress.bytes.all.store(found.bytes, Ordering::Relaxed);
        }
        Ok(found)
    }

    async fn copy(&mut self, mut arrival: Arrival) -> Result<Arrival, String> {
        let mut first = true;
        while !arrival.is_copied() {
            let scan = Scan { prefix: Prefix::stored(""), after: arrival.copied(), limit: PAGE, bytes: PAGE_BYTES };
            let page = ask(self.from, scan).await.map_err(|fault| format!("source: {fault}"))?;
            let (page, names) = bounded(page);
            if first {
                // A process that was killed may have left some of them, whole or in part.
                let objects: Vec<ObjectId> = names.iter().flat_map(Named::objects).map(|(object, _)| object).collect();
                for some in objects.chunks(ERASED) {
                    let erase = Erase { objects: some.to_vec() };
                    ask(self.to, erase).await.map_err(|fault| format!("target: {fault}"))?;
                }
                first = false;
            }
            let this = &*self;
            stream::iter(names).map(Ok).try_for_each_concurrent(JOBS, |named| this.copy_bytes(named)).await?;
            let records = page.iter().filter(|(key, _)| is_copied(key)).count() as u64;
            let step = self.registry.take_in(arrival, page, ambient());
            arrival = self.to.run(step, &mut RequestBody::empty()).await.map_err(|wrong| format!("target: {wrong}"))?;
            self.progress.records.add(records);
        }
        Ok(arrival)
    }

    /// Copies what a record names, and sees whether it is what it should be.
    async fn copy_bytes(&self, named: Named) -> Result<(), String> {
        // What is known to be damaged is stepped over: a push to the target brings it as it would have to the source.
        if named.quarantined && !is_sound(self.from, &named, "source").await {
            self.progress.bytes.add(named.objects().map(|(_, size)| size).sum());
            return Ok(());
        }
        let mut meter = meter(&named);
        for run in &named.runs {
            meter = match run {
                Run::Record(key, _) => seen(self.from, key, meter, "source").await?,
                Run::Object(object, size) => self.copy_object(*object, *size, meter).await?,
            };
        }
        whole(&named, &meter, "source")
    }

    async fn copy_object(&self, object: ObjectId, size: u64, meter: Meter) -> Result<Meter, String> {
        let before = meter.count();
        let opened =
            self.from.open_pieces(Pieces::of_object(object, size)).await.map_err(|fault| format!("source: {fault}"))?;
        let place = || self.from.place(&object);
        let Some(opened) = opened else { return Err(format!("the source lacks the object {}: {DAMAGED}", place())) };
        let mut body = RequestBody::new(opened.into_body(None, asked(&place())), PATIENCE);
        let receive = Receive { object, meter: meter.with_limit(before + size), keep: 0, pause: Duration::MAX };
        let step = start(move |io| async move { io.ask(receive).await });
        let received = self.to.run(step, &mut body).await.map_err(|fault| format!("target: {fault}"))?;
        let came = received.meter.count() - before;
        if received.end != BodyEnd::Whole || came != size {
            return Err(format!("the object {} of {size} bytes ended after {came}: {DAMAGED}", place()));
        }
        self.progress.bytes.add(size);
        Ok(received.meter.with_limit(u64::MAX))
    }

    /// Compares all records, and reads all bytes of the copy that were not read before: the number of records, and the
    /// hash over them.
    async fn compare(&self, mut arrival: Arrival) -> Result<(Arrival, u64, Digest), String> {
        let (mut source, mut target) = (Walk::new(self.from, "source"), Walk::new(self.to, "target"));
        let (mut records, mut hash, mut noted) = (0, Meter::new(Algorithm::Sha256), Instant::now());
        let before = arrival.compared();
        loop {
            let (mut names, mut last) = (Vec::new(), None);
            while names.len() < PAGE {
                let Some((key, value)) = pair(source.next().await?, target.next().await?)? else { break };
                for text in [key.as_str().as_bytes(), &value] {
                    hash.update(&(text.len() as u64).to_le_bytes());
                    hash.update(text);
                }
                records += 1;
                self.progress.records.add(1);
                match named(&key, &value) {
                    Ok(Some(named)) if before.as_ref().is_some_and(|before| key <= *before) => {
                        self.progress.bytes.add(named.objects().map(|(_, size)| size).sum());
                    }
                    Ok(Some(named)) => names.push(named),
                    // One that does not read was counted before.
                    Ok(None) | Err(_) => {}
                }
                last = Some(key);
            }
            let Some(last) = last else { return Ok((arrival, records, hash.digest())) };
            stream::iter(names).map(Ok).try_for_each_concurrent(JOBS, |named| self.compare_bytes(named)).await?;
            if noted.elapsed() > NOTE && before.as_ref().is_none_or(|before| last > *before) {
                let step = self.registry.note_compared(arrival, Some(last), ambient());
                let done = self.to.run(step, &mut RequestBody::empty()).await;
                arrival = done.map_err(|wrong| format!("target: {wrong}"))?;
                noted = Instant::now();
            }
        }
    }

    /// Reads what a record of the copy names, and sees whether it is what it should be.
    async fn compare_bytes(&self, named: Named) -> Result<(), String> {
        if named.quarantined && !is_sound(self.to, &named, "target").await {
            self.progress.bytes.add(named.objects().map(|(_, size)| size).sum());
            return Ok(());
        }
        let copied = measured(self.to, &named, "target").await?;
        whole(&named, &copied, "target")?;
        // Of what an open upload has nothing is known but what the source has.
        if named.digest.is_none() && measured(self.from, &named, "source").await?.digest() != copied.digest() {
            return Err("the bytes of an open upload differ: the copy is not as the source".into());
        }
        self.progress.bytes.add(named.objects().map(|(_, size)| size).sum());
        Ok(())
    }

    async fn end(&self, arrival: Arrival) -> Result<(), String> {
        let step = self.registry.settle(arrival, self.departure.clone(), ambient());
        self.to.run(step, &mut RequestBody::empty()).await.map_err(|wrong| format!("target: {wrong}"))
    }
}

const DAMAGED: &str = "run `orlop check` on the source, and mend or delete what it names; then run this again";

/// The beginning of a page whose objects have no more bytes than a page should, and what it names.
fn bounded(mut page: Vec<(Key, Value)>) -> (Vec<(Key, Value)>, Vec<Named>) {
    let (mut names, mut bytes) = (Vec::new(), 0);
    for place in 0..page.len() {
        let (key, value) = &page[place];
        // What does not read names nothing; it was counted before.
        if let Ok(Some(found)) = named(key, value) {
            bytes += found.size();
            names.push(found);
        }
        if bytes >= OBJECT_BYTES {
            page.truncate(place + 1);
            break;
        }
    }
    (page, names)
}

/// The same record of both; an error when they differ.
fn pair(source: Option<(Key, Value)>, target: Option<(Key, Value)>) -> Result<Option<(Key, Value)>, String> {
    let key = match (source, target) {
        (None, None) => return Ok(None),
        (Some(one), Some(other)) if one == other => return Ok(Some(one)),
        (Some((one, _)), Some((other, _))) => one.min(other),
        (Some((key, _)), None) | (None, Some((key, _))) => key,
    };
    Err(format!(
        "the record {key:?} differs: the source was changed after the copy was begun; empty the target and begin anew"
    ))
}

/// The records of a host that are copied, in their order.
struct Walk<'h> {
    host: &'h Host,
    place: &'static str,
    after: Option<Key>,
    page: VecDeque<(Key, Value)>,
    over: bool,
}

impl<'h> Walk<'h> {
    fn new(host: &'h Host, place: &'static str) -> Self {
        Self { host, place, after: None, page: VecDeque::new(), over: false }
    }

    async fn next(&mut self) -> Result<Option<(Key, Value)>, String> {
        loop {
            while let Some((key, value)) = self.page.pop_front() {
                if is_copied(&key) {
                    return Ok(Some((key, value)));
                }
            }
            if self.over {
                return Ok(None);
            }
            let scan = Scan { prefix: Prefix::stored(""), after: self.after.take(), limit: PAGE, bytes: PAGE_BYTES };
            let page = ask(self.host, scan).await.map_err(|fault| format!("{}: {fault}", self.place))?;
            self.after = page.last().map(|(key, _)| key.clone());
            self.over = page.is_empty();
            self.page = page.into();
        }
    }
}

fn meter(named: &Named) -> Meter {
    Meter::new(named.digest.map_or(Algorithm::Sha256, |digest| digest.algorithm()))
}

/// Reads what a record names.
async fn measured(host: &Host, named: &Named, place: &'static str) -> Result<Meter, String> {
    let mut meter = meter(named);
    for run in &named.runs {
        meter = match run {
            Run::Record(key, _) => seen(host, key, meter, place).await?,
            Run::Object(object, _) => {
                let measure = Measure { objects: vec![*object], meter };
                let read = ask(host, measure).await.map_err(|fault| format!("{place}: {fault}"))?;
                read.ok_or_else(|| format!("the {place} lacks the object {}", host.place(object)))?
            }
        };
    }
    Ok(meter)
}

/// Whether what a record names can be read, and is as it should be.
async fn is_sound(host: &Host, named: &Named, place: &'static str) -> bool {
    matches!(measured(host, named, place).await, Ok(meter) if whole(named, &meter, place).is_ok())
}

/// A meter that has seen the bytes that are a record.
async fn seen(host: &Host, key: &Key, mut meter: Meter, place: &'static str) -> Result<Meter, String> {
    let found = ask(host, Get { keys: vec![key.clone()] }).await.map_err(|fault| format!("{place}: {fault}"))?;
    let Some(Some(value)) = found.first() else {
        return Err(format!("the {place} lacks the record {key:?}: {DAMAGED}"));
    };
    meter.update(value);
    Ok(meter)
}

/// Sees whether bytes are those that were named.
fn whole(named: &Named, meter: &Meter, place: &'static str) -> Result<(), String> {
    let (found, expected) = (meter.count(), named.size());
    match named.digest {
        Some(digest) if found != expected || meter.digest() != digest => Err(format!(
            "the bytes of the blob {digest} in the {place} have the digest {} and the length {found} instead of {expected}: \
             {DAMAGED}",
            meter.digest()
        )),
        None if found != expected => {
            Err(format!("an open upload has {found} bytes in the {place} instead of {expected}: {DAMAGED}"))
        }
        _ => Ok(()),
    }
}

async fn ask<E: Effect>(host: &Host, effect: E) -> Result<E::Outcome, Fault> {
    host.run(start(move |io| async move { io.ask(effect).await }), &mut RequestBody::empty()).await
}

/// What is named in the log when an object cannot be read to its end.
fn asked(place: &str) -> Arc<Asked> {
    let request =
        Request { method: Method::Get, target: place.into(), headers: Headers::default(), length: Some(0), base: None };
    Arc::new(request.into())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use orlop_core::Timestamp;
    use orlop_core::effect::{Commit, Durability};
    use orlop_core::record::{BlobRecord, Extent};
    use tempfile::TempDir;
    use uuid::Uuid;

    use super::*;
    use crate::settings::Options;

    const EMPTY: Commit = Commit {
        expect: Vec::new(),
        put: Vec::new(),
        add: Vec::new(),
        delete: Vec::new(),
        durability: Durability::Durable,
        reclaims: false,
    };

    async fn open(directory: &TempDir) -> Host {
        Host::open(directory.path(), &Options::default()).unwrap()
    }

    /// Keeps a blob of these bytes, of which `stored` are there.
    async fn keep(
        host: &Host,
        number: u128,
        bytes: &'static str,
        stored: Option<&'static str>,
        quarantined: bool,
    ) -> Digest {
        let (digest, object) =
            (Algorithm::Sha256.digest(bytes.as_bytes()), ObjectId::received_by(Uuid::from_u128(number)));
        if let Some(stored) = stored {
            let mut body = RequestBody::new(axum::body::Body::from(stored), PATIENCE);
            let receive = Receive { object, meter: Meter::new(Algorithm::Sha256), keep: 0, pause: Duration::MAX };
            let received = host.run(start(move |io| async move { io.ask(receive).await }), &mut body).await.unwrap();
            assert_eq!(received.end, BodyEnd::Whole);
        }
        let extent = Extent { object, size: bytes.len() as u64, small: false };
        let record = BlobRecord {
            size: bytes.len() as u64,
            extents: vec![extent],
            quarantined: quarantined.then_some(Timestamp(7)),
            unverified: false,
            read: None,
        };
        let value = Bytes::from(serde_json::to_vec(&record).unwrap());
        ask(host, Commit { put: vec![(Key::stored(format!("blob/{digest}")), value)], ..EMPTY }).await.unwrap();
        digest
    }

    async fn registry() -> (TempDir, Host) {
        let directory = TempDir::new().unwrap();
        let host = open(&directory).await;
        let agreed = Registry::new(orlop_core::Config::default()).agree(None, ambient());
        host.run(agreed, &mut RequestBody::empty()).await.unwrap();
        (directory, host)
    }

    /// SPEC W13.
    #[tokio::test]
    async fn a_move_steps_over_what_is_known_to_be_damaged() {
        let (_source, from) = registry().await;
        let sound = keep(&from, 1, "sound", Some("sound"), false).await;
        let wrong = keep(&from, 2, "right", Some("wrong"), true).await;
        let missing = keep(&from, 3, "missing", None, true).await;
        let repaired = keep(&from, 4, "repaired", Some("repaired"), true).await;
        let target = TempDir::new().unwrap();
        let to = open(&target).await;
        let copied = copy(&from, &to, &Arc::default()).await.unwrap();
        let mut expected = [wrong, missing, repaired];
        expected.sort();
        assert_eq!(copied.quarantined, expected);
        for (number, digest, there) in [(1, sound, true), (2, wrong, false), (3, missing, false), (4, repaired, true)] {
            let objects = vec![ObjectId::received_by(Uuid::from_u128(number))];
            let measured = ask(&to, Measure { objects, meter: Meter::new(Algorithm::Sha256) }).await.unwrap();
            assert_eq!(measured.map(|meter| meter.digest()), there.then_some(digest), "{number}");
            let key = Key::stored(format!("blob/{digest}"));
            let [one, other] = [&from, &to].map(|host| ask(host, Get { keys: vec![key.clone()] }));
            assert_eq!(one.await.unwrap(), other.await.unwrap());
        }
    }

    /// SPEC W13.
    #[tokio::test]
    async fn a_move_ends_at_damage_that_was_not_known() {
        let (_source, from) = registry().await;
        keep(&from, 1, "right", Some("wrong"), false).await;
        let target = TempDir::new().unwrap();
        let wrong = copy(&from, &open(&target).await, &Arc::default()).await.unwrap_err();
        assert!(wrong.contains("orlop check"), "{wrong}");
    }
}
