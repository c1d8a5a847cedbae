//! The objects: write-once runs of bytes in an object store.
//!
//! Since an object is named by the call that made it and written once, nothing is ever copied or renamed in the store,
//! and nothing of it can be stale.

mod client;
mod fault;
mod layout;
mod pairing;
mod part;
mod probe;
mod read;
mod sink;
mod store;
mod stream;
mod unrecorded;
mod verify;
mod window;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::Method;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use object_store::client::{HttpClient, HttpConnector};
use object_store::path::Path;
use object_store::{ClientOptions, MultipartId, ObjectMeta, ObjectStoreExt};
use orlop_core::Fault;
use orlop_core::effect::{Commit, Durability, Erase, Get, Inventory, Join, Load, Measure, Scan, Stored};
use orlop_core::http::Pieces;
use orlop_core::keys::{Key, Prefix};
use orlop_core::meter::Meter;
use orlop_core::object::ObjectId;
use rustls::ClientConfig;

use self::client::Connector;
use self::fault::fault;
pub(super) use self::fault::told;
use self::layout::Layout;
use self::part::Spool;
use self::probe::Probed;
pub(super) use self::probe::TRIED;
pub(super) use self::read::Bytestream;
pub(in crate::storage) use self::sink::Sink;
pub(super) use self::store::{Opening, Store, open as open_store};
pub(crate) use self::stream::Content;
pub(super) use self::verify::{Place, Verify};
pub(in crate::storage) use self::window::Window;
use super::cache::Cache;
use super::records::Records;
use crate::settings::Engines;
use crate::storage::counters::Counters;
use crate::storage::disk::{Buffers, Pace};

/// How long a client may wait until it begins to read from where it was sent.
const SIGNED: Duration = Duration::from_secs(20 * 60);

/// How many round trips are measured.
const ROUND_TRIPS: usize = 9;

/// Under which keys of the host it is recorded that an upload was begun in the store.
const UPLOADS: &str = "upload/";

/// The objects of a registry. A clone is the same.
#[derive(Clone)]
pub(in crate::storage) struct Objects {
    store: Arc<dyn Store>,
    /// For what the library cannot ask of a store.
    http: HttpClient,
    layout: Layout,
    records: Arc<Records>,
    spool: Spool,
    cache: Option<Cache>,
    buffers: Buffers,
    counters: Arc<Counters>,
    probed: Probed,
}

/// The client of stores, with what it trusts and what it counts in.
pub(super) fn connector(tls: ClientConfig, counters: &Counters) -> impl HttpConnector + Clone {
    Connector { tls: Arc::new(tls), counters: counters.clone() }
}

/// Whether a store can be named so.
///
/// # Errors
///
/// With what is wrong.
pub(super) fn check(engines: &Engines, tls: ClientConfig) -> Result<(), String> {
    let connector = Connector { tls: Arc::new(tls), counters: Counters::default() };
    store::open(&engines.objects, &engines.options, connector, Opening::OBJECTS).map(drop)
}

impl Objects {
    /// Opens the store at a URL, and tries whether it does what is needed.
    ///
    /// # Errors
    ///
    /// With what is missing.
    pub(super) async fn open(
        engines: &Engines,
        tls: ClientConfig,
        records: Arc<Records>,
        cache: Option<Cache>,
        counters: &Counters,
    ) -> Result<Self, String> {
        let connector = Connector { tls: Arc::new(tls), counters: counters.clone() };
        let http = connector.connect(&ClientOptions::default()).map_err(|error| error.to_string())?;
        let (store, prefix) = store::open(&engines.objects, &engines.options, connector, Opening::OBJECTS)?;
        let probed =
            probe::probe(&*store, &prefix).await.map_err(|wrong| format!("objects = {}: {wrong}", engines.objects))?;
        pairing::check(&*store, &prefix, &records)
            .await
            .map_err(|wrong| format!("objects = {}: {wrong}", engines.objects))?;
        let spool = Spool::open()?;
        let (buffers, counters) = (Buffers::default(), Arc::new(counters.clone()));
        Ok(Self { store, http, layout: Layout::new(&prefix), records, probed, spool, cache, buffers, counters })
    }

    /// What it was like at the start.
    pub(super) fn probed(&self) -> Probed {
        self.probed
    }

    /// How long a request takes: the median of some.
    pub(super) async fn latency(&self) -> Result<Duration, Fault> {
        let mut times = Vec::new();
        for _ in 0..ROUND_TRIPS {
            let asked = std::time::Instant::now();
            self.ready().await?;
            times.push(asked.elapsed());
        }
        times.sort_unstable();
        Ok(times[ROUND_TRIPS / 2])
    }

    /// Whether the store answers.
    pub(super) async fn ready(&self) -> Result<(), Fault> {
        let path = self.layout.path(&ObjectId::received_by(uuid::Uuid::nil()));
        match self.store.head(&path).await {
            Ok(_) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(fault("look at", &path, &error)),
        }
    }

    /// An object to be written, and how many bytes it will have if that is known.
    pub(in crate::storage) fn sink(&self, object: &ObjectId, expected: Option<u64>) -> Sink {
        Sink::new(self.clone(), object, expected)
    }

    /// A window on an object that is about to be written.
    pub(in crate::storage) fn window(&self) -> Window {
        Window::new(self.spool.clone())
    }

    /// Where an object is, for an administrator.
    pub(in crate::storage) fn path(&self, object: &ObjectId) -> String {
        self.layout.path(object).to_string()
    }

    pub(in crate::storage) async fn join(&self, join: Join) -> Result<bool, Fault> {
        let mut sink = self.sink(&join.into, None);
        for object in &join.from {
            let Some((_, mut bytes)) = self.read(object, None).await? else { return Ok(false) };
            while let Some(piece) = bytes.next().await {
                sink.append(vec![piece?]).await?;
            }
        }
        sink.seal(Vec::new()).await?;
        Ok(true)
    }

    pub(in crate::storage) async fn load(&self, load: Load) -> Result<Option<Bytes>, Fault> {
        let mut whole = BytesMut::new();
        for object in &load.objects {
            let Some((size, mut bytes)) = self.read(object, None).await? else { return Ok(None) };
            if whole.len() as u64 + size > load.limit {
                return Ok(None);
            }
            while let Some(piece) = bytes.next().await {
                whole.extend_from_slice(&piece?);
            }
        }
        Ok(Some(whole.freeze()))
    }

    pub(in crate::storage) async fn measure(
        &self,
        measure: Measure,
        pace: Option<Pace>,
    ) -> Result<Option<Meter>, Fault> {
        let mut meter = measure.meter;
        let (began, mut sum) = (Instant::now(), 0);
        for object in &measure.objects {
            let Some((_, mut bytes)) = self.read(object, None).await? else { return Ok(None) };
            while meter.room() > 0
                && let Some(piece) = bytes.next().await
            {
                let mut piece = piece?;
                piece.truncate(usize::try_from(meter.room()).unwrap_or(usize::MAX));
                meter.update(&piece);
                sum += piece.len() as u64;
                match pace {
                    Some(pace) => tokio::time::sleep(pace.time_for(sum).saturating_sub(began.elapsed())).await,
                    // To hash some hundred KiB takes a while, in which others have something to do too.
                    None => tokio::task::yield_now().await,
                }
            }
        }
        Ok(Some(meter))
    }

    /// Removes objects, and uploads that would have become some of them.
    pub(in crate::storage) async fn erase(&self, erase: Erase) -> Result<(), Fault> {
        let keys: Vec<Key> = erase.objects.iter().map(upload_key).collect();
        let ids = self.records.get(Get { keys }).await?;
        let open: Vec<(ObjectId, MultipartId)> =
            erase.objects.iter().zip(ids).filter_map(|(object, value)| Some((*object, recorded(&value?)?.1))).collect();
        self.abort_uploads(open).await;
        let paths: Vec<_> = erase.objects.iter().map(|object| Ok(self.layout.path(object))).collect();
        let mut gone = self.store.delete_stream(futures_util::stream::iter(paths).boxed());
        while let Some(one) = gone.next().await {
            match one {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(fault("remove objects from", self.layout.directory(), &error)),
            }
        }
        Ok(())
    }

    /// Lists objects, and uploads that were begun and have not become one.
    pub(in crate::storage) async fn inventory(&self, inventory: Inventory) -> Result<Vec<Stored>, Fault> {
        let directory = self.layout.directory();
        let after = inventory.after.as_ref().map(|after| self.layout.path(after));
        let listed =
            store::list(&*self.store, directory, after.as_ref(), inventory.limit, |found| self.stored(&found)).await;
        let mut page = listed.map_err(|error| fault("list", directory, &error))?;
        let whole = page.len() < inventory.limit;
        let end = page.last().map(|last| last.object).filter(|_| !whole);
        page.extend(self.uploads(inventory.after, end, inventory.limit).await?);
        page.sort_by_key(|stored: &Stored| stored.object);
        page.dedup_by_key(|stored| stored.object);
        page.truncate(inventory.limit);
        Ok(page)
    }

    fn stored(&self, found: &ObjectMeta) -> Option<Stored> {
        let object = self.layout.object(&found.location)?;
        let age = std::time::SystemTime::now().duration_since(found.last_modified.into()).unwrap_or_default();
        Some(Stored { object, size: found.size, age })
    }

    /// Uploads that were begun for objects after `after`, and not after `end` if there is one.
    async fn uploads(
        &self,
        after: Option<ObjectId>,
        end: Option<ObjectId>,
        limit: usize,
    ) -> Result<Vec<Stored>, Fault> {
        let scan =
            Scan { prefix: Prefix::of_host(UPLOADS), after: after.as_ref().map(upload_key), limit, bytes: usize::MAX };
        let prefix = scan.prefix.clone();
        let found = self.records.scan(scan).await?;
        let stored = |(key, value): &(Key, Bytes)| {
            let object = self.layout.object(&self.layout.directory().clone().join(prefix.rest(key)))?;
            let (begun, _) = recorded(value)?;
            Some(Stored { object, size: 0, age: Duration::from_secs(now().saturating_sub(begun)) })
        };
        Ok(found.iter().filter_map(stored).filter(|stored| end.is_none_or(|end| stored.object <= end)).collect())
    }

    pub(in crate::storage) async fn open_pieces(&self, pieces: Pieces) -> Result<Option<Content>, Fault> {
        Content::open(self, pieces).await
    }

    /// A URL by which a client without credentials can read an object for a while.
    pub(in crate::storage) async fn sign(&self, object: &ObjectId) -> Result<String, Fault> {
        let path = self.layout.path(object);
        let signed = self.store.signed_url(Method::GET, &path, SIGNED).await;
        signed.map(String::from).map_err(|error| fault("sign a URL of", &path, &error))
    }

    /// Begins an upload in the store. It is recorded before its first byte is sent, so that garbage collection finds it
    /// after a crash: a store lists no uploads among its objects, and bills them.
    async fn begin_upload(&self, object: &ObjectId, path: &Path) -> Result<MultipartId, Fault> {
        let id = self.store.create_multipart(path).await.map_err(|error| fault("begin the upload of", path, &error))?;
        let value = format!("{} {id}", now()).into();
        let put = Commit { put: vec![(upload_key(object), value)], ..commit(Durability::Durable) };
        match self.records.commit(put).await {
            Ok(_) => Ok(id),
            Err(fault) => {
                let _ = self.store.abort_multipart(path, &id).await;
                Err(fault)
            }
        }
    }

    /// An upload has ended.
    async fn forget_upload(&self, object: &ObjectId) {
        self.forget_uploads(vec![upload_key(object)]).await;
    }

    async fn forget_uploads(&self, keys: Vec<Key>) {
        // What stays is found by garbage collection.
        let _ = self.records.commit(Commit { delete: keys, ..commit(Durability::Eventual) }).await;
    }

    /// Ends uploads without an object.
    async fn abort_uploads(&self, uploads: Vec<(ObjectId, MultipartId)>) {
        if uploads.is_empty() {
            return;
        }
        let mut keys = Vec::new();
        for (object, id) in &uploads {
            let path = self.layout.path(object);
            match self.store.abort_multipart(&path, id).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => keys.push(upload_key(object)),
                Err(error) => tracing::warn!(
                    "an upload stays open, for the next garbage collection: {}",
                    fault("abort", &path, &error)
                ),
            }
        }
        self.forget_uploads(keys).await;
    }
}

/// The key under which an upload for an object is recorded. Objects have the names that they have in the store, whose
/// order is that of objects.
fn upload_key(object: &ObjectId) -> Key {
    let path = Layout::new(&Path::default()).path(object);
    Key::of_host(&format!("{UPLOADS}{}", path.filename().unwrap_or_default()))
}

/// What is recorded of an upload: when it was begun, in seconds since 1970, and its id in the store.
fn recorded(value: &[u8]) -> Option<(u64, MultipartId)> {
    let (begun, id) = std::str::from_utf8(value).ok()?.split_once(' ')?;
    Some((begun.parse().ok()?, id.to_owned()))
}

fn commit(durability: Durability) -> Commit {
    Commit { expect: vec![], put: vec![], add: vec![], delete: vec![], durability, reclaims: true }
}

/// Seconds since 1970.
fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs()
}
