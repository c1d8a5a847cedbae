//! Blobs from a bucket: copied into objects, and hashed meanwhile.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use axum::body::Body;
use futures_util::{StreamExt, TryStreamExt, stream};
use orlop_core::digest::Digest;
use orlop_core::effect::{BodyEnd, Erase, Receive};
use orlop_core::meter::Meter;
use orlop_core::object::ObjectId;
use orlop_core::step::start;
use uuid::Uuid;

use super::report::Report;
use super::target::Taker;
use super::walk::Found;
use crate::storage::{Bucket, RequestBody};

/// How many blobs come at once.
const JOBS: usize = 8;

/// How long the bytes of a blob may stop coming.
const PATIENCE: Duration = Duration::from_secs(120);

/// What came of a blob that the registry lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Brought {
    /// Its bytes are in this object, which belongs to nothing yet.
    Object {
        /// The object.
        object: ObjectId,
        /// They were hashed, and are those of the digest.
        verified: bool,
    },
    /// It is there no more.
    Gone,
    /// Its bytes are not those of its digest.
    Damaged,
}

impl Taker<'_> {
    /// Copies blobs out of a bucket: what came of each.
    pub(super) fn fetch(
        &self,
        bucket: &Bucket,
        lacking: &[&Found],
        report: &mut Report,
    ) -> Result<HashMap<Digest, Brought>, String> {
        let nonce = Uuid::new_v4();
        let jobs = (0..).zip(lacking).map(|(index, blob)| async move {
            let object = ObjectId { nonce, index };
            self.fetch_one(bucket, blob, object).await.map(|brought| (blob.digest, brought))
        });
        let brought = stream::iter(jobs).buffer_unordered(JOBS).try_collect::<HashMap<_, _>>();
        let brought = self.target.handle.block_on(brought)?;
        report.copied += brought.values().filter(|brought| matches!(brought, Brought::Object { .. })).count() as u64;
        Ok(brought)
    }

    async fn fetch_one(&self, bucket: &Bucket, blob: &Found, object: ObjectId) -> Result<Brought, String> {
        let path = self.source.data(&blob.digest);
        let bytes = match bucket.stream(&path).await {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Brought::Gone),
            Err(error) => return Err(error.to_string()),
        };
        let mut body = RequestBody::new(Body::from_stream(bytes), PATIENCE);
        // One that is longer than it was when it was looked at is another.
        let meter = Meter::new(blob.digest.algorithm()).with_limit(blob.size);
        let receive = Receive { object, meter, keep: 0, pause: Duration::MAX };
        let host = &self.target.host;
        let step = start(move |io| async move { io.ask(receive).await });
        let received = host.run(step, &mut body).await.map_err(|fault| fault.to_string())?;
        let whole = received.end == BodyEnd::Whole;
        if whole && received.meter.digest() == blob.digest {
            self.owner.own_object(Path::new(&host.place(&object))).map_err(|error| error.to_string())?;
            return Ok(Brought::Object { object, verified: true });
        }
        let erase = Erase { objects: vec![object] };
        let step = start(move |io| async move { io.ask(erase).await });
        host.run(step, &mut RequestBody::empty()).await.map_err(|fault| fault.to_string())?;
        match received.end {
            BodyEnd::Whole | BodyEnd::TooLarge => Ok(Brought::Damaged),
            _ => Err(format!("{} broke off after {} bytes: run this again", path.display(), received.meter.count())),
        }
    }
}
