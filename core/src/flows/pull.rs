//! Manifests: download (OCI end-3; SPEC J).

use alloc::format;
use alloc::string::ToString;

use super::Call;
use super::blob::said;
use super::mirror::Cached;
use crate::caller::Right;
use crate::conditional::{self, Condition};
use crate::config::ATTEMPTS;
use crate::digest::Digest;
use crate::effect::{Fault, Value};
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
                    if let Some(response) = self.stored(name, digest, request, None).await? {
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
                    // A tag names a manifest that is there, unless it was deleted between the two looks.
                    if let Some(response) = self.stored(name, &digest, request, Some(tag)).await? {
                        let response = if choice { response.with("Vary", "Accept") } else { response };
                        return Ok(said(response, cached));
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
        let Some(tag) = tag else { return Ok(None) };
        let tag: TagRecord = record::decode(&tag_key, &tag)?;
        let Some(platforms) = platforms else { return Ok(Some((tag.digest, false))) };
        let platforms: PlatformsRecord = record::decode(&platforms_key, &platforms)?;
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
    ) -> Result<Option<Response>, Error> {
        let key = keys::manifest(name, digest);
        let (manifest, payload): (Option<Value>, Option<Value>) = if request.method == Method::Head {
            let [manifest] = self.get([key.clone()]).await?;
            (manifest, None)
        } else {
            let [manifest, payload] = self.get([key.clone(), keys::payload(name, digest)]).await?;
            let present = manifest.is_some();
            let lost = || Fault::Failed(alloc::format!("the manifest {digest} of {name} has no payload"));
            (manifest, if present { Some(payload.ok_or_else(lost)?) } else { None })
        };
        let Some(manifest) = manifest else { return Ok(None) };
        let record: ManifestRecord = record::decode(&key, &manifest)?;
        // SPEC X30, X31.
        let pulls = request.method == Method::Get || tag.is_some();
        let pull = || Pull { repository: name.clone(), digest: *digest, tag: tag.cloned() };
        let response = |status| Response { pulled: pulls.then(pull), ..conditional::identified(status, digest) };
        match conditional::evaluate(&request.headers, Some(digest)) {
            Condition::Holds => {}
            Condition::NotModified => return Ok(Some(response(304))),
            Condition::Fails(reason) => return Err(Error::Precondition(reason)),
        }
        if request.method == Method::Get {
            self.tell_pull(name, digest, &record, tag);
        }
        let ManifestRecord { media_type, size, .. } = record;
        let response = response(200).with("Content-Type", media_type).with("Content-Length", size.to_string());
        Ok(Some(Response { body: payload.map_or(Body::Empty, Body::Bytes), ..response }))
    }
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
