//! What an administrator asks of a mirror: to fetch images before a client does, to say what it has, and to let go of it.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::Route;
use crate::config::{LISTED_PAGES, LISTED_TAGS};
use crate::digest::Digest;
use crate::effect::{Committed, Durability, Fault};
use crate::error::Error;
use crate::flows::Call;
use crate::flows::batch::Batch;
use crate::flows::delete::{End, Removal, Removed, StoredManifest};
use crate::flows::pages::Pages;
use crate::flows::quarantine::sound_manifest;
use crate::http::Method;
use crate::keys;
use crate::manifest::{Manifest, Need};
use crate::mirror::{As, Mirror};
use crate::name::{Repository, Tag};
use crate::record;
use crate::target::Reference;

/// A repository of a mirror.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mirrored {
    /// The prefix of the mirror.
    pub prefix: String,
    /// The name of the repository here.
    pub repository: String,
    /// How many tags it has.
    pub tags: u64,
    /// How many bytes its blobs and manifests have.
    pub bytes: u64,
}

/// What was taken out of a repository of a mirror.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LetGo {
    /// How many tags, manifests and blobs went.
    pub gone: u64,
    /// How many stay because they were pushed, before this was a mirror: no upstream gives them back.
    pub pushed: u64,
}

/// A page of `tags/list`.
#[derive(Deserialize)]
struct Listed {
    tags: Option<Vec<String>>,
}

impl Call {
    /// The way to the upstreams of a repository, for what nobody has sent.
    fn own_route<'c>(&'c self, name: &'c Repository) -> Result<Route<'c>, Error> {
        let mirror = self.config.mirror_of(name).ok_or_else(|| Error::RepositoryUnknown(name.clone()))?;
        Ok(Route { mirror, name, login: As::Mirror, via: format!("1.1 {}", self.config.via) })
    }

    /// The tags that the upstream lists of a repository. What is no tag by the grammar is left out.
    pub(crate) async fn upstream_tags(&self, name: &Repository) -> Result<Vec<Tag>, Error> {
        let route = self.own_route(name)?;
        let first = format!("tags/list?n={LISTED_TAGS}");
        let answered = self.inquire_any(&route, Method::Get, &first, &[], super::LISTED).await?;
        let (teller, mut answer) =
            answered.map_err(|unmet| super::refused(unmet, Error::RepositoryUnknown(name.clone())))?;
        let mut tags = Vec::new();
        for _ in 0..LISTED_PAGES {
            let listed: Listed = serde_json::from_slice(&answer.body)
                .map_err(|error| Error::UpstreamFailed(format!("the upstream of {name} lists no tags: {error}")))?;
            tags.extend(listed.tags.into_iter().flatten().filter_map(|tag| tag.parse().ok()));
            let Some(page) = answer.next else { return Ok(tags) };
            answer = self.next_page(&route, &teller, &page, &[], super::LISTED).await?;
        }
        // A part of them would be taken for all.
        Err(Error::UpstreamFailed(format!("the upstream of {name} lists tags on more than {LISTED_PAGES} pages")))
    }

    /// Brings a manifest, and those that it lists, into a repository: which blobs they need that are not there yet.
    pub(crate) async fn bring_image(&self, name: &Repository, reference: &Reference) -> Result<Vec<Digest>, Error> {
        let route = self.own_route(name)?;
        let unknown = || Error::ManifestUnknown(reference.to_string());
        let first = match reference {
            Reference::Digest(digest) => *digest,
            Reference::Tag(tag) => {
                self.freshen(&route, tag).await?;
                let state = self.tag_state(name, tag).await?;
                state.record.ok_or_else(unknown)?.record.digest
            }
        };
        let (mut seen, mut next, mut blobs) = (BTreeSet::from([first]), Vec::from([first]), BTreeSet::new());
        while let Some(digest) = next.pop() {
            let manifest = match self.held_manifest(name, &digest).await? {
                Some(manifest) => manifest,
                None => match self.bring_manifest(&route, &digest).await {
                    Ok(()) => self.held_manifest(name, &digest).await?.ok_or_else(unknown)?,
                    // What an index lists may be a blob, as in that of a build cache.
                    Err(Error::ManifestUnknown(_)) if digest != first => {
                        blobs.insert(digest);
                        continue;
                    }
                    Err(error) => return Err(error),
                },
            };
            let others = self.other_platforms(&route, &digest).await?.unwrap_or_default();
            for (needed, need) in &manifest.needs {
                match need {
                    Need::Child if others.contains_key(needed) => {}
                    Need::Child if seen.insert(*needed) => next.push(*needed),
                    Need::Blob => drop(blobs.insert(*needed)),
                    Need::Child | Need::Optional => {}
                }
            }
        }
        let mut missing = Vec::new();
        for blob in blobs {
            if let [None] = self.get([keys::link(name, &blob)]).await? {
                missing.push(blob);
            }
        }
        Ok(missing)
    }

    /// A manifest that the repository has.
    pub(super) async fn held_manifest(&self, name: &Repository, digest: &Digest) -> Result<Option<Manifest>, Error> {
        let [manifest, payload] = self.get([keys::manifest(name, digest), keys::payload(name, digest)]).await?;
        let (Some(manifest), Some(payload)) = (sound_manifest(name, digest, manifest), payload) else {
            return Ok(None);
        };
        let read = Manifest::parse(&payload, Some(&manifest.record.media_type));
        let damaged = |_| Error::from(Fault::Failed(format!("the manifest {digest} of {name} does not read")));
        read.map(Some).map_err(damaged)
    }

    /// The repositories of all mirrors, in the order of their names.
    pub(crate) async fn mirrored(&self) -> Result<Vec<Mirrored>, Error> {
        let mut found = Vec::new();
        let prefix = keys::repositories();
        let mut pages = Pages::new(&prefix);
        while let Some(page) = pages.next(self).await? {
            for (key, _) in page {
                let Ok(name) = prefix.rest(&key).parse::<Repository>() else { continue };
                let Some(Mirror { prefix, .. }) = self.config.mirror_of(&name) else { continue };
                let [usage] = self.get([keys::usage(&name)]).await?;
                let (under, mut tags) = (keys::tags(&name), 0);
                let mut tagged = Pages::new(&under);
                while let Some(page) = tagged.next(self).await? {
                    tags += page.len() as u64;
                }
                let bytes = record::count(usage.as_ref());
                found.push(Mirrored { prefix: prefix.clone(), repository: name.to_string(), tags, bytes });
            }
        }
        Ok(found)
    }

    /// Takes all manifests, tags and blobs out of a repository of a mirror, or what `reference` names, if an upstream can
    /// give it again.
    pub(crate) async fn let_go_of(&self, name: &Repository, reference: Option<&Reference>) -> Result<LetGo, Error> {
        self.own_route(name)?;
        let mut done = LetGo::default();
        match reference {
            Some(Reference::Tag(tag)) => self.let_go_of_tag(name, tag, &mut done).await?,
            Some(Reference::Digest(digest)) => self.let_go_of_digest(name, digest, &mut done).await?,
            None => {
                for prefix in [keys::manifests(name), keys::links(name)] {
                    let mut pages = Pages::new(&prefix);
                    while let Some(page) = pages.next(self).await? {
                        let digests: Vec<Digest> =
                            page.iter().filter_map(|(key, _)| prefix.rest(key).parse().ok()).collect();
                        for digest in digests {
                            self.let_go_of_digest(name, &digest, &mut done).await?;
                        }
                    }
                }
            }
        }
        Ok(done)
    }

    async fn let_go_of_tag(&self, name: &Repository, tag: &Tag, done: &mut LetGo) -> Result<(), Error> {
        let state = self.tag_state(name, tag).await?;
        // What was pushed in between is none that the commit expects.
        let (Some(_), Some(known)) = (&state.record, self.known(name, tag).await?) else { return Ok(()) };
        if known.mirrored.is_none() {
            done.pushed += 1;
            return Ok(());
        }
        let mut batch = Batch::reclaiming();
        self.change_tag(&mut batch, name, &state, None, None);
        let gone = self.commit(batch, Durability::Eventual).await? == Committed::Done;
        done.gone += u64::from(gone);
        Ok(())
    }

    /// A manifest or a blob, whichever it is.
    async fn let_go_of_digest(&self, name: &Repository, digest: &Digest, done: &mut LetGo) -> Result<(), Error> {
        let manifest: Option<StoredManifest> = self.find(keys::manifest(name, digest)).await?;
        match manifest {
            Some(found) if found.record.fetched => {
                let (also, unnamed) = (Batch::default(), self.ambient.now);
                let removal = Removal { also, unnamed, end: End::Gone, told: false };
                let removed = self.remove_manifest(name, digest, &found, removal, &mut Removed::default()).await?;
                done.gone += u64::from(removed == Committed::Done);
            }
            Some(_) => done.pushed += 1,
            None => {}
        }
        let link = keys::link(name, digest);
        let [Some(linked)] = self.get([link.clone()]).await? else { return Ok(()) };
        let mirror = self.own_route(name)?.mirror;
        for held in self.held(mirror, Vec::from([(link, linked)])).await? {
            match held.fetched {
                true => done.gone += u64::from(self.evict_blob(&held).await?),
                false => done.pushed += 1,
            }
        }
        Ok(())
    }
}
