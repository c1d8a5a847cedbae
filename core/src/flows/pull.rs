//! Manifests: download (OCI end-3; SPEC J).

use alloc::format;
use alloc::string::ToString;

use super::Call;
use super::batch::Found;
use super::blob::said;
use super::mirror::Cached;
use super::quarantine::{manifest_problem, sound_manifest};
use crate::caller::Right;
use crate::conditional::{self, Condition};
use crate::config::ATTEMPTS;
use crate::digest::Digest;
use crate::effect::Fault;
use crate::error::Error;
use crate::http::{Body, Method, Pull, Request, Response};
use crate::keys;
use crate::media::{Accept, ManifestType};
use crate::name::{Repository, Tag};
use crate::record::{self, ManifestRecord, PlatformsRecord, TagRecord};
use crate::target::Reference;

impl Call {
    /// `GET` and `HEAD`: the manifest as it was pushed, byte for byte. For a tag, a client that accepts only
    /// lists, or only single manifests, may be answered out of the list the registry maintains.
    pub(crate) async fn manifest(
        &self,
        name: &Repository,
        reference: &Reference,
        request: &Request,
    ) -> Result<Response, Error> {
        let unknown = || Error::ManifestUnknown(reference.to_string());
        if !self.may(Right::Pull, name) {
            return Err(unknown());
        }
        self.vouch(name, request, (Method::Head, &format!("manifests/{reference}")), unknown).await?;
        let mirrored = self.config.mirror_of(name).is_some();
        let hit = mirrored.then_some(Cached::Hit);
        match reference {
            Reference::Digest(digest) => {
                let mut cached = hit;
                for _ in 0..ATTEMPTS {
                    if let Ok(response) = self.stored(name, digest, request, None).await? {
                        return Ok(said(response, cached));
                    }
                    let route = self.route(name, request).ok_or_else(unknown)?;
                    match self.bring_manifest(&route, digest).await {
                        Err(Error::Storage(Fault::Full(_))) => return self.pass_on(&route, reference).await,
                        brought => brought?,
                    }
                    cached = Some(Cached::Miss);
                }
                Err(Error::Contention)
            }
            Reference::Tag(tag) => {
                let route = self.route(name, request);
                for _ in 0..ATTEMPTS {
                    let cached = match &route {
                        Some(route) => match self.freshen(route, tag).await {
                            Err(Error::Storage(Fault::Full(_))) => return self.pass_on(route, reference).await,
                            cached => Some(cached?),
                        },
                        None => hit,
                    };
                    let Some((digest, choice)) = self.resolve(name, tag, request).await? else {
                        // Taken out of the mirror since: its upstream has it still.
                        if route.is_some() {
                            continue;
                        }
                        return Err(unknown());
                    };
                    match self.stored(name, &digest, request, Some(tag)).await? {
                        Ok(response) => {
                            let response = if choice { response.with("Vary", "Accept") } else { response };
                            return Ok(said(response, cached));
                        }
                        // A tag names a manifest that is there, unless it was deleted between the two looks.
                        Err(Missing::Absent) => {}
                        Err(Missing::Damaged) => {
                            match self.bring_manifest(route.as_ref().ok_or_else(unknown)?, &digest).await {
                                Err(Error::Storage(Fault::Full(_))) => {
                                    return self.pass_on(route.as_ref().ok_or_else(unknown)?, reference).await;
                                }
                                brought => brought?,
                            }
                        }
                    }
                }
                Err(Error::Contention)
            }
        }
    }

    /// What a tag names for who asks so, and whether another client may get something else.
    async fn resolve(&self, name: &Repository, tag: &Tag, request: &Request) -> Result<Option<(Digest, bool)>, Error> {
        let (tag_key, platforms_key) = (keys::tag(name, tag), keys::platforms(name, tag));
        let [tag, platforms] = self.get([tag_key.clone(), platforms_key.clone()]).await?;
        // A tag whose record does not read is not there: it is to be pushed again (SPEC W7).
        let tag = tag.and_then(|tag| record::decode::<TagRecord>(&tag_key, &tag).ok());
        let Some(tag) = tag else { return Ok(None) };
        let platforms =
            platforms.and_then(|platforms| record::decode::<PlatformsRecord>(&platforms_key, &platforms).ok());
        let Some(platforms) = platforms else { return Ok(Some((tag.digest, false))) };
        let accept = Accept::read(&request.headers);
        let assembled = platforms.list == Some(tag.digest);
        let digest = match platforms.list {
            Some(list) if accept.only_lists() => list,
            _ if assembled && accept.only_manifests() => platforms.plain(&accept).unwrap_or(tag.digest),
            _ => tag.digest,
        };
        Ok(Some((digest, true)))
    }

    /// The manifest of that digest, if the repository has it.
    async fn stored(
        &self,
        name: &Repository,
        digest: &Digest,
        request: &Request,
        tag: Option<&Tag>,
    ) -> Result<Result<Response, Missing>, Error> {
        let key = keys::manifest(name, digest);
        let [manifest, payload] = match request.method {
            Method::Head => {
                let [manifest] = self.get([key]).await?;
                [manifest, None]
            }
            _ => self.get([key, keys::payload(name, digest)]).await?,
        };
        let Some(value) = manifest else { return Ok(Err(Missing::Absent)) };
        let Some(Found { record, .. }) = sound_manifest(name, digest, Some(value.clone())) else {
            return Ok(Err(Missing::Damaged));
        };
        if request.method == Method::Get
            && let Some(problem) = manifest_problem(digest, &record, payload.as_ref())
        {
            // It is not there from now on, and is to be pushed again (SPEC W6).
            self.quarantine_manifest(name, digest, &value, &problem).await?;
            return Ok(Err(Missing::Damaged));
        }
        // SPEC X30, X31.
        let pulls = request.method == Method::Get || tag.is_some();
        let fetched = |status| request.method == Method::Get && status == 200;
        let pull = |status| Pull {
            repository: name.clone(),
            digest: *digest,
            tag: tag.cloned(),
            fetched: fetched(status),
            by: self.caller.name.clone(),
        };
        let response =
            |status| Response { pulled: pulls.then(|| pull(status)), ..conditional::identified(status, digest) };
        match conditional::evaluate(&request.headers, Some(digest)) {
            Condition::Holds => {}
            Condition::NotModified => return Ok(Ok(response(304))),
            Condition::Fails(reason) => return Err(Error::Precondition(reason)),
        }
        if request.method == Method::Get {
            self.tell_pull(name, digest, &record, tag);
        }
        let ManifestRecord { media_type, size, .. } = record;
        let response = response(200).with("Content-Type", media_type).with("Content-Length", size.to_string());
        Ok(Ok(Response { body: payload.map_or(Body::Empty, Body::Bytes), ..response }))
    }
}

/// Why there is no answer from what a repository has under the digest of a manifest.
enum Missing {
    Absent,
    /// It is there, and out of use.
    Damaged,
}

impl PlatformsRecord {
    /// The image for a client that takes no list: that for linux/amd64, as Docker's registry chose, or the first.
    fn plain(&self, accept: &Accept) -> Option<Digest> {
        let mut taken = self
            .images
            .iter()
            .filter(|image| ManifestType::named(&image.media_type).is_some_and(|media_type| accept.takes(media_type)));
        let usual = taken.clone().find(|image| image.platform.name() == "linux/amd64");
        usual.or_else(|| taken.next()).map(|image| image.digest)
    }
}
