//! Reading from the store, on and on: what a store breaks off is asked for again, from where it ended.
//!
//! The library does that too, but only for some seconds after its request and only where there is an ETag. To send an
//! object to a slow client takes longer than that, and a store closes a connection from which nothing is taken.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, try_unfold};
use object_store::path::Path;
use object_store::{GetOptions, GetResult};
use orlop_core::Fault;
use orlop_core::http::Piece;
use orlop_core::object::ObjectId;

use super::Objects;
use super::fault::fault;
use super::store::Store;

/// Bytes as they come from the store.
pub(in crate::storage::shared) type Bytestream = BoxStream<'static, Result<Bytes, Fault>>;

/// How often in a row a store may break off before it has sent [`PROGRESS`] bytes.
const BREAKS: u32 = 6;

/// After how many bytes a store that has broken off has gone on.
const PROGRESS: u64 = 256 << 10;

/// How long to wait before the first of these requests but one; each later one waits twice as long.
const PAUSE: Duration = Duration::from_millis(100);

/// A range of an object that is being read.
struct Reading {
    store: Arc<dyn Store>,
    path: Path,
    /// What is still to come.
    left: Range<u64>,
    stream: BoxStream<'static, object_store::Result<Bytes>>,
    breaks: u32,
    /// How many bytes have come since it was asked for last.
    came: u64,
}

impl Objects {
    /// Begins to read a range of an object, or all of it: how many bytes are to come, and these. `None` when the object is
    /// not there.
    pub(super) async fn read(
        &self,
        object: &ObjectId,
        range: Option<Range<u64>>,
    ) -> Result<Option<(u64, Bytestream)>, Fault> {
        let path = self.layout.path(object);
        let Some(found) = ask(&*self.store, &path, range.clone()).await? else { return Ok(None) };
        let left = found.range.clone();
        if range.is_some_and(|range| range != left) {
            return Err(Fault::Failed(format!("{path} has {} bytes, and more are recorded", found.meta.size)));
        }
        let length = left.end - left.start;
        let stream = found.into_stream();
        let reading = Reading { store: self.store.clone(), path, left, stream, breaks: 0, came: 0 };
        Ok(Some((length, try_unfold(reading, Reading::next).boxed())))
    }

    /// Begins to read these pieces, one after the other; `None` when the first object of them is not there.
    pub(in crate::storage::shared) async fn read_all(&self, pieces: Vec<Piece>) -> Result<Option<Bytestream>, Fault> {
        let mut pieces = VecDeque::from(pieces);
        let mut head = VecDeque::new();
        let first = loop {
            match pieces.pop_front() {
                None => break None,
                Some(Piece::Bytes(bytes)) => head.push_back(bytes),
                Some(Piece::Slice(_, range)) if range.is_empty() => {}
                Some(Piece::Slice(object, range)) => match self.read(&object, Some(range)).await? {
                    None => return Ok(None),
                    Some((_, stream)) => break Some(stream),
                },
            }
        };
        let all = All { objects: self.clone(), head, stream: first, pieces };
        Ok(Some(try_unfold(all, All::next).boxed()))
    }
}

/// Pieces that are read one after the other.
struct All {
    objects: Objects,
    head: VecDeque<Bytes>,
    stream: Option<Bytestream>,
    pieces: VecDeque<Piece>,
}

impl All {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, Fault> {
        loop {
            if let Some(bytes) = self.head.pop_front() {
                return Ok(Some((bytes, self)));
            }
            if let Some(stream) = &mut self.stream {
                if let Some(bytes) = stream.next().await {
                    return Ok(Some((bytes?, self)));
                }
                self.stream = None;
            }
            match self.pieces.pop_front() {
                None => return Ok(None),
                Some(Piece::Bytes(bytes)) => return Ok(Some((bytes, self))),
                Some(Piece::Slice(_, range)) if range.is_empty() => {}
                Some(Piece::Slice(object, range)) => {
                    let found = self.objects.read(&object, Some(range)).await?;
                    let (_, stream) =
                        found.ok_or_else(|| Fault::Failed(format!("{} is gone", self.objects.path(&object))))?;
                    self.stream = Some(stream);
                }
            }
        }
    }
}

impl Reading {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, Fault> {
        while !self.left.is_empty() {
            let broken = match self.stream.next().await {
                Some(Ok(mut bytes)) => {
                    bytes.truncate(usize::try_from(self.left.end - self.left.start).unwrap_or(usize::MAX));
                    self.left.start += bytes.len() as u64;
                    self.came += bytes.len() as u64;
                    if bytes.is_empty() {
                        continue;
                    }
                    return Ok(Some((bytes, self)));
                }
                Some(Err(error)) => fault("read", &self.path, &error),
                None => Fault::Unavailable(format!("the store has sent too little of {}", self.path)),
            };
            self.resume(broken).await?;
        }
        Ok(None)
    }

    /// Asks for what is left, after the store has broken off.
    async fn resume(&mut self, mut broken: Fault) -> Result<(), Fault> {
        if self.came >= PROGRESS {
            self.breaks = 0;
        }
        loop {
            self.breaks += 1;
            if self.breaks > BREAKS {
                return Err(broken);
            }
            tracing::info!("{broken}; the rest is asked for again, from byte {}", self.left.start);
            if self.breaks > 1 {
                tokio::time::sleep(PAUSE * 2_u32.pow(self.breaks - 2)).await;
            }
            match ask(&*self.store, &self.path, Some(self.left.clone())).await {
                Ok(Some(found)) if found.range == self.left => {
                    self.came = 0;
                    self.stream = found.into_stream();
                    return Ok(());
                }
                Ok(Some(_)) => broken = Fault::Failed(format!("{} has become shorter", self.path)),
                Ok(None) => return Err(Fault::Failed(format!("{} is gone", self.path))),
                Err(fault) => broken = fault,
            }
        }
    }
}

/// Asks for a range of an object, or all of it; `None` when it is not there.
async fn ask(store: &dyn Store, path: &Path, range: Option<Range<u64>>) -> Result<Option<GetResult>, Fault> {
    match store.get_opts(path, GetOptions::new().with_range(range)).await {
        Ok(found) => Ok(Some(found)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(fault("read", path, &error)),
    }
}
