//! Blobs of a mirror: fetched by a call of its own, which all calls follow that want the blob.

use alloc::format;
use alloc::string::String;
use core::ops::Range;

use super::{Route, refused, worse};
use crate::config::FETCH_ATTEMPTS;
use crate::digest::Digest;
use crate::effect::{BodyEnd, Erase, Fault, Fetch, Follow, Received, Relay};
use crate::error::Error;
use crate::flows::Call;
use crate::flows::blob::Asked;
use crate::flows::quarantine::sound_blob;
use crate::flows::upload::Chunk;
use crate::http::{Body, Method, Response};
use crate::keys;
use crate::meter::Meter;
use crate::mirror::{As, Fetching, Followed, Relayed, Source, Unmet};
use crate::name::Repository;
use crate::object::ObjectId;
use crate::range::Selection;
use crate::record::Extent;

impl Call {
    /// A blob that the repository does not have: its bytes as they come, or nothing when it has been fetched meanwhile, so
    /// that it can be read.
    pub(in crate::flows) async fn blob_through(
        &self,
        route: &Route<'_>,
        asked: &Asked<'_>,
    ) -> Result<Option<Response>, Error> {
        let digest = asked.digest;
        let unknown = || Error::BlobUnknown(*digest);
        if asked.request.method == Method::Head {
            let answer = self.inquire(route, Method::Head, &format!("blobs/{digest}"), &[], 0).await?;
            let size = answer.map_err(|unmet| refused(unmet, unknown()))?.length;
            let Some(size) = size else {
                return Err(Error::UpstreamFailed(format!("the upstream does not say how long {digest} is")));
            };
            if size > self.largest(route) {
                return Err(self.too_large(route));
            }
            return asked.unmodified().map(|unmodified| Some(unmodified.unwrap_or_else(|| asked.whole(size))));
        }
        let fetching = Fetching::new(self.config.clone(), route, *digest);
        match self.ask(Follow { fetching }).await? {
            Followed::Over(Ok(())) => Ok(None),
            // What cannot be kept can be passed on.
            Followed::Over(Err(Error::Storage(fault @ Fault::Full(_)))) => {
                match self.relay(route, digest, None).await?.map_err(|unmet| refused(unmet, unknown())) {
                    Ok(Relayed { size }) => Ok(Some(Response { body: Body::Relayed, ..asked.whole(size) })),
                    Err(_) => Err(Error::Storage(fault)),
                }
            }
            Followed::Over(Err(error)) => Err(error),
            Followed::Coming(size) if size > self.largest(route) => Err(self.too_large(route)),
            Followed::Coming(size) => self.coming(route, asked, size).await.map(Some),
        }
    }

    /// The answer while `size` bytes come. One range is asked of the upstream for itself, since what a client needs first
    /// of a large blob is often its end; several are answered with the whole, as RFC 9110, 14.2, allows.
    async fn coming(&self, route: &Route<'_>, asked: &Asked<'_>, size: u64) -> Result<Response, Error> {
        if let Some(unmodified) = asked.unmodified()? {
            return Ok(unmodified);
        }
        let whole = || Response { body: Body::Coming(0..size), ..asked.whole(size) };
        match asked.selection(size) {
            Selection::Unsatisfiable => Err(Error::RangeUnsatisfiable(size)),
            Selection::Whole => Ok(whole()),
            Selection::Ranges(ranges) => match ranges.as_slice() {
                // All of it: that can be held against the digest.
                [range] if *range == (0..size) => {
                    Ok(Response { body: Body::Coming(range.clone()), ..asked.part(range, size) })
                }
                [range] => {
                    let relayed = self.relay(route, asked.digest, Some(range.clone())).await?;
                    let body = match relayed {
                        Ok(relayed) if relayed.size == size => Body::Relayed,
                        _ => Body::Coming(range.clone()),
                    };
                    Ok(Response { body, ..asked.part(range, size) })
                }
                _ => Ok(whole()),
            },
        }
    }

    async fn relay(
        &self,
        route: &Route<'_>,
        digest: &Digest,
        range: Option<Range<u64>>,
    ) -> Result<Result<Relayed, Unmet>, Error> {
        let mut unmet = Unmet::Absent;
        for (upstream, repository) in route.upstreams() {
            let source = route.source(upstream, repository, *digest);
            match self.ask(Relay { source, range: range.clone() }).await? {
                Ok(relayed) => return Ok(Ok(relayed)),
                Err(why) => unmet = worse(unmet, why),
            }
        }
        Ok(Err(unmet))
    }

    /// Fetches a blob into a repository that does not have it: a call of its own.
    ///
    /// The bytes are at rest and are those of the digest before the one commit that makes them the blob. A crash before it
    /// leaves an object that no record names.
    pub(crate) async fn fetch_blob(
        &self,
        name: &Repository,
        digest: &Digest,
        login: As,
        via: String,
    ) -> Result<(), Error> {
        let unknown = || Error::BlobUnknown(*digest);
        let mirror = self.config.mirror_of(name).ok_or_else(unknown)?;
        let route = Route { mirror, name, login, via };
        let [link, blob] = self.get([keys::link(name, digest), keys::blob(digest)]).await?;
        let blob = sound_blob(digest, blob);
        if link.is_some() && blob.is_some() {
            return Ok(());
        }
        // What is damaged is fetched as if it had never been here.
        if let Some(blob) = blob {
            // Another repository has these bytes. Whether this one has them is for its upstream to say.
            let answer = self.inquire(&route, Method::Head, &format!("blobs/{digest}"), &[], 0).await?;
            let there = answer.map_err(|unmet| refused(unmet, unknown()))?.length;
            // One that says yes to everything does not know how long it is: then it has to send the bytes.
            if there == Some(blob.record.size) && self.mount_known(name, digest).await? {
                return Ok(());
            }
        }
        let object = ObjectId { nonce: self.ambient.nonce, index: 0 };
        let mut begun = Begun { object, meter: self.empty_meter(&route, digest) };
        let mut unmet = Unmet::Absent;
        for (upstream, repository) in route.upstreams() {
            let source = route.source(upstream, repository, *digest);
            let before = begun.meter.count();
            let mut fetched = self.fetch_from(&route, &source, &mut begun).await?;
            if before > 0 && begun.meter.count() <= before && matches!(fetched, Err(Unmet::Failed(_))) {
                // It cannot go on with what another one has sent: that may be wrong, or of another length.
                if begun.meter.count() > 0 {
                    self.start_over(&route, digest, &mut begun).await;
                }
                fetched = self.fetch_from(&route, &source, &mut begun).await?;
            }
            match fetched {
                Ok(chunk) => return self.keep_fetched(name, digest, begun.meter, chunk).await,
                Err(why) => unmet = worse(unmet, why),
            }
        }
        let _ = self.io.ask(Erase { objects: [begun.object].into() }).await;
        Err(refused(unmet, unknown()))
    }

    /// Fetches a blob, or what it lacks yet, from one upstream, and goes on where the connection broke. `begun` is then the
    /// blob, or what another upstream may go on with.
    async fn fetch_from(
        &self,
        route: &Route<'_>,
        source: &Source,
        begun: &mut Begun,
    ) -> Result<Result<Option<Chunk>, Unmet>, Error> {
        let digest = &source.digest;
        let mut attempts = FETCH_ATTEMPTS;
        loop {
            let (object, before) = (begun.object, begun.meter.count());
            let keep = if before == 0 { self.config.small_object } else { 0 };
            let fetch = Fetch { source: source.clone(), object, meter: begun.meter.clone(), keep };
            let received = match self.io.ask(fetch).await {
                Ok(received) => received,
                Err(fault) => {
                    self.erase_later([object]);
                    return Err(fault.into());
                }
            };
            let Received { meter, end, kept, .. } = match received {
                Ok(received) => received,
                Err(unmet) => return Ok(Err(unmet)),
            };
            if end == BodyEnd::TooLarge {
                self.erase_later([object]);
                return Err(self.too_large(route));
            }
            if end == BodyEnd::Whole {
                if meter.digest() != *digest {
                    self.start_over(route, digest, begun).await;
                    let name = route.name;
                    return Ok(Err(Unmet::Failed(format!(
                        "the upstream of {name} has sent something else as the blob {digest}"
                    ))));
                }
                let size = meter.count();
                let extent = Extent { object, size, small: kept.is_some() };
                begun.meter = meter;
                return Ok(Ok((size > 0).then(|| Chunk::new(extent, kept))));
            }
            if meter.count() < before {
                // What had come is gone.
                self.start_over(route, digest, begun).await;
            }
            // What came of so little that it would have been kept is asked for again, and is no progress.
            let goes_on = kept.is_none() && meter.count() > before;
            attempts = if goes_on { FETCH_ATTEMPTS } else { attempts - 1 };
            if goes_on {
                begun.meter = meter;
            }
            if attempts == 0 {
                let reason = format!("the upstream of {} breaks off in the blob {digest}", route.name);
                return Ok(Err(Unmet::Failed(reason)));
            }
        }
    }

    /// Erases what has come of a blob: the next fetch begins at its first byte.
    async fn start_over(&self, route: &Route<'_>, digest: &Digest, begun: &mut Begun) {
        // Nothing else writes under this name.
        let _ = self.io.ask(Erase { objects: [begun.object].into() }).await;
        begun.object.index += 1;
        begun.meter = self.empty_meter(route, digest);
    }

    fn empty_meter(&self, route: &Route<'_>, digest: &Digest) -> Meter {
        Meter::new(digest.algorithm()).with_limit(self.largest(route))
    }

    fn largest(&self, route: &Route<'_>) -> u64 {
        route.mirror.blob_limit.min(self.config.blob_limit)
    }

    fn too_large(&self, route: &Route<'_>) -> Error {
        Error::Denied(format!("blobs of this mirror have at most {} bytes", self.largest(route)))
    }
}

/// What has come of a blob.
struct Begun {
    object: ObjectId,
    /// It has seen the bytes of the object.
    meter: Meter,
}
