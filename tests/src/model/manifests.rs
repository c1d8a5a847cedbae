//! Manifests and tags (SPEC J, K, L).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value as Json;

use super::document::{Document, Need, is_list, named};
use super::grammar::{self, Query};
use super::maintained::{Accept, Image};
use super::ranges::{Condition, condition};
use super::{Model, Refusals, Says};
use crate::system::Call;

/// A manifest in a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Manifest {
    pub(super) media_type: &'static str,
    pub(super) bytes: Bytes,
    pub(super) subject: Option<String>,
    pub(super) described: Json,
    /// The digests of what it is made of.
    pub(super) needs: BTreeSet<String>,
    /// Those of these that may stay elsewhere.
    pub(super) foreign: BTreeSet<String>,
    /// When it was pushed last, or a tag or a manifest ceased to name it (SPEC L9).
    pub(super) left: Duration,
    /// Whether it is a list that the registry made by itself and that no tag has named.
    pub(super) maintained: bool,
}

/// A tag: what it names, and the list that is kept for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) digest: String,
    /// The newest image of each platform.
    pub(super) images: BTreeMap<String, Image>,
    /// The digest of the list of these, while it is there.
    pub(super) list: Option<String>,
}

impl Tag {
    /// Everything that it names, by itself or through its list.
    pub(super) fn names(&self) -> BTreeSet<String> {
        let images = self.images.values().map(|image| image.digest.clone());
        images.chain(self.list.clone()).chain([self.digest.clone()]).collect()
    }
}

/// SPEC J4, L4: an unknown repository is no other case.
fn unknown() -> Refusals {
    vec![Says::refusal(404, "MANIFEST_UNKNOWN")]
}

impl Model {
    pub(super) fn pull_manifest(&self, call: &Call, name: &str, reference: &str) -> Result<Says, Refusals> {
        let repository = self.repositories.get(name).ok_or_else(unknown)?;
        let tag = repository.tags.get(reference);
        let digest = match tag {
            Some(tag) => tag.answer_to(&Accept::of(&call.request.headers)),
            None => reference.into(),
        };
        let manifest = repository.manifests.get(&digest).ok_or_else(unknown)?;
        let vary = tag.is_some_and(|tag| !tag.images.is_empty());
        let says = |status| {
            let says = Says::new(status).with("Docker-Content-Digest", &digest).with("ETag", format!("\"{digest}\""));
            if vary { says.with("Vary", "Accept") } else { says }
        };
        match condition(&call.request.headers, Some(&digest)) {
            Condition::Holds => Ok(says(200).bytes(manifest.media_type, manifest.bytes.clone())),
            Condition::Known => Ok(says(304)),
            Condition::Fails => Err(vec![Says::refusal(412, "DENIED")]),
        }
    }

    pub(super) fn put_manifest(
        &mut self,
        call: &Call,
        name: &str,
        reference: &str,
        query: &Query,
    ) -> Result<Says, Refusals> {
        let bytes = &call.body.bytes;
        let by_digest = grammar::is_digest(reference);
        let digest = grammar::digest_like(reference, bytes);
        let mut wrong = Vec::new();
        let mut refuse = |holds: bool, status, code| wrong.extend(holds.then(|| Says::refusal(status, code)));

        // SPEC K15.
        let parameters: BTreeSet<&str> = query.all("tag").collect();
        refuse(parameters.iter().any(|tag| !grammar::is_tag(tag)), 400, "TAG_INVALID");
        refuse(!by_digest && !parameters.is_empty(), 400, "TAG_INVALID");
        refuse(parameters.len() > 64, 414, "TAG_INVALID");
        // SPEC K3, K13.
        let limit = self.config.manifest_limit;
        refuse(
            call.request.length.unwrap_or(bytes.len() as u64).max(bytes.len() as u64) > limit,
            413,
            "MANIFEST_INVALID",
        );
        refuse(call.body.cut, 400, "SIZE_INVALID");
        refuse(by_digest && digest != reference, 400, "DIGEST_INVALID");
        let document = Document::read(bytes, call.request.headers.get("Content-Type"));
        refuse(document.is_none(), 400, "MANIFEST_INVALID");
        // SPEC J8.
        let repository = self.repositories.get(name);
        let current = repository.and_then(|repository| match by_digest {
            true => repository.manifests.get_key_value(reference).map(|(digest, _)| digest.as_str()),
            false => repository.tags.get(reference).map(|tag| tag.digest.as_str()),
        });
        let condition = condition(&call.request.headers, current);
        refuse(condition != Condition::Holds, 412, "DENIED");
        // SPEC K9, K11.
        let has_blob = |digest: &str| repository.is_some_and(|repository| repository.blobs.contains_key(digest));
        let has_manifest =
            |digest: &str| repository.is_some_and(|repository| repository.manifests.contains_key(digest));
        let needs = document.iter().flat_map(|document| &document.needs);
        // What is needed in two ways is needed in the stricter one.
        let strict: BTreeSet<String> = needs
            .clone()
            .filter_map(|need| match need {
                Need::Blob(digest) => Some(digest.clone()),
                _ => None,
            })
            .collect();
        let missing = needs.filter(|need| match need {
            Need::Blob(digest) => !has_blob(digest),
            Need::Child(digest) => !has_blob(digest) && !has_manifest(digest),
            Need::Foreign(digest) => strict.contains(digest) && !has_blob(digest),
        });
        let missing: BTreeSet<String> = missing.map(|need| need.digest().into()).collect();
        if !missing.is_empty() && !self.config.allow_sparse {
            wrong.push(Says::missing(missing));
        }
        let Some(document) = document.filter(|_| wrong.is_empty()) else { return Err(wrong) };

        let tags: Vec<&str> = if by_digest { parameters.iter().copied().collect() } else { vec![reference] };
        let platform = self.platform(name, &document);
        let manifest = Manifest {
            media_type: document.media_type,
            bytes: bytes.clone(),
            subject: document.subject.clone(),
            described: document.described,
            needs: document.needs.iter().map(|need| need.digest().into()).collect(),
            foreign: document
                .needs
                .iter()
                .filter(|need| matches!(need, Need::Foreign(digest) if !strict.contains(digest)))
                .map(|need| need.digest().into())
                .collect(),
            left: self.now,
            maintained: false,
        };
        let image = platform.map(|platform| Image {
            platform,
            media_type: document.media_type,
            digest: digest.clone(),
            size: bytes.len(),
            pushed: self.now,
        });
        let repository = self.keep(name);
        repository.manifests.insert(digest.clone(), manifest);
        // SPEC X3.
        repository.deleted.remove(&digest);
        tags.iter().for_each(|tag| self.tag(name, tag, &digest, image.clone()));

        let mut says = Says::new(201).with("Location", format!("/v2/{name}/manifests/{digest}"));
        says = says.with("Docker-Content-Digest", digest);
        if let Some(subject) = document.subject {
            says = says.with("OCI-Subject", subject);
        }
        if !parameters.is_empty() {
            says = says.with("OCI-Tag", tags.join(", "));
        }
        Ok(says)
    }

    pub(super) fn delete_manifest(&mut self, name: &str, reference: &str) -> Result<Says, Refusals> {
        self.may_delete()?;
        let end = self.end();
        let (protects, protects_tag) = (self.protects(name, reference), self.protects_tag(name, reference));
        let repository = self.repositories.get_mut(name).ok_or_else(unknown)?;
        // SPEC X20, X21.
        let denied = || vec![Says::refusal(403, "DENIED")];
        if grammar::is_digest(reference) {
            if protects && repository.manifests.contains_key(reference) {
                return Err(denied());
            }
            self.remove_manifest(name, reference, end).ok_or_else(unknown)?;
        } else {
            if protects_tag && repository.tags.contains_key(reference) {
                return Err(denied());
            }
            // SPEC L1, X4.
            let tag = repository.tags.remove(reference).ok_or_else(unknown)?;
            self.leave(name, tag.names());
            self.keep_tag(name, reference, tag, end, false);
        }
        Ok(Says::new(202))
    }

    /// The platform that an image config names, wherever the config is (SPEC J6).
    fn platform(&self, name: &str, document: &Document) -> Option<Json> {
        let config = document.image_config.as_ref()?;
        let blob =
            || self.repositories.get(name)?.blobs.get(config["digest"].as_str()?).map(|blob| blob.bytes.to_vec());
        let config: Json = serde_json::from_slice(&document.inline_config().or_else(blob)?).ok()?;
        let known = |field: &str| config[field].as_str().is_some_and(|text| !matches!(text, "" | "unknown"));
        (known("os") && known("architecture"))
            .then(|| serde_json::json!({ "architecture": config["architecture"], "os": config["os"] }))
    }
}

impl Accept {
    /// Reads every `Accept` field: lists, weights and parameters (SPEC J7).
    fn of(headers: &orlop_core::Headers) -> Self {
        let mut accept = Self { lists: Vec::new(), manifests: Vec::new(), others: false };
        for range in headers.all("Accept").flat_map(|field| field.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let media_type = parts.next().unwrap_or_default();
            let weight = parts.find_map(|parameter| parameter.to_lowercase().strip_prefix("q=").map(String::from));
            let refused = weight.is_some_and(|weight| weight.parse() == Ok(0.0));
            match named(media_type) {
                _ if refused || media_type.is_empty() => {}
                Some(known) if is_list(known) => accept.lists.push(known),
                Some(known) => accept.manifests.push(known),
                None => accept.others = true,
            }
        }
        accept
    }
}
