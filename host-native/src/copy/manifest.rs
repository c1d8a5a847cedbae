//! Manifests, read for what they are made of. They are copied as they are, so whatever else they say does not matter.

use orlop_core::digest::Digest;
use orlop_core::media::ManifestType;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Found;
use crate::remote::{Descriptor, Failure, Platform};

/// How many contents a manifest may name.
const NAMED: usize = 100_000;

/// The media types of the configuration of an image.
const CONFIGS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

/// The annotation by which a builder's manifest in an index says of which image it attests something.
const ATTESTED: &str = "vnd.docker.reference.digest";

/// What a manifest or index is made of.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// Other manifests.
    pub(super) manifests: Vec<Descriptor>,
    /// Blobs.
    pub(super) blobs: Vec<Descriptor>,
    /// What it refers to.
    pub(super) subject: Option<Digest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    /// Of an artifact manifest of the coming 1.1 that was withdrawn.
    blobs: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    subject: Option<Subject>,
}

#[derive(Deserialize)]
struct Subject {
    digest: Digest,
}

impl Parts {
    /// Reads a manifest.
    ///
    /// # Errors
    ///
    /// [`Failure::Unusable`] when it is none, or one of Docker's schema 1.
    pub(super) fn of(bytes: &[u8], digest: &Digest) -> Result<Self, Failure> {
        let wrong = |reason: String| Failure::Unusable(format!("the manifest {digest} {reason}"));
        let document: Document =
            serde_json::from_slice(bytes).map_err(|error| wrong(format!("cannot be read: {error}")))?;
        let mut parts = Self { subject: document.subject.map(|subject| subject.digest), ..Self::default() };
        let layers = document.layers.into_iter().chain(document.blobs).flatten();
        let layers = layers.filter(|layer| !stays_outside(layer));
        parts.blobs.extend(document.config.into_iter().chain(layers));
        // A child of another kind is a blob: caches of builders have layers there.
        for child in document.manifests.into_iter().flatten() {
            let kind = if is_manifest(&child.media_type) { &mut parts.manifests } else { &mut parts.blobs };
            kind.push(child);
        }
        if parts.blobs.len() + parts.manifests.len() > NAMED {
            return Err(wrong(format!("names more than {NAMED} contents")));
        }
        Ok(parts)
    }
}

pub(super) fn is_manifest(media_type: &str) -> bool {
    ManifestType::named(media_type).is_some()
}

/// Whether a manifest of this type lists others.
pub(super) fn is_list(media_type: &str) -> bool {
    ManifestType::named(media_type).is_some_and(ManifestType::is_list)
}

/// Whether a layer is one that registries need not have (image-spec, "Non-distributable Layers").
fn stays_outside(layer: &Descriptor) -> bool {
    layer.urls.as_ref().is_some_and(|urls| !urls.is_empty())
        || layer.media_type.contains(".nondistributable.")
        || layer.media_type.contains(".foreign.")
}

/// The index under the tag that lists referrers, with a manifest added to it; nothing when it is in there. Whatever else
/// the index says stays.
///
/// # Errors
///
/// [`Failure::Unusable`] when what is there is no index.
pub(super) fn with_referrer(index: Option<&[u8]>, found: &Found) -> Result<Option<Vec<u8>>, Failure> {
    let wrong = |reason: &str| Failure::Unusable(format!("the tag that lists referrers {reason}"));
    let mut index: Value = match index {
        Some(bytes) => serde_json::from_slice(bytes).map_err(|_| wrong("is no JSON"))?,
        None => json!({ "schemaVersion": 2, "mediaType": ManifestType::OciIndex.as_str(), "manifests": [] }),
    };
    let manifests = index.get_mut("manifests").and_then(Value::as_array_mut);
    let manifests = manifests.ok_or_else(|| wrong("is no index"))?;
    let digest = found.digest.to_string();
    if manifests.iter().any(|listed| listed["digest"] == digest.as_str()) {
        return Ok(None);
    }
    let document: Value = serde_json::from_slice(&found.bytes).unwrap_or_default();
    let mut added = json!({ "mediaType": found.media_type, "digest": digest, "size": found.bytes.len() });
    let own = document["artifactType"].as_str().filter(|own| !own.is_empty());
    if let Some(artifact_type) = own.or(document["config"]["mediaType"].as_str()) {
        added["artifactType"] = artifact_type.into();
    }
    if document["annotations"].is_object() {
        added["annotations"] = document["annotations"].clone();
    }
    manifests.push(added);
    Ok(Some(index.to_string().into_bytes()))
}

/// Which platforms an index has, in words.
pub(super) fn platforms_of(manifests: &[Descriptor]) -> String {
    let known = manifests.iter().filter_map(|image| image.platform.as_ref()).map(|platform| {
        let variant = platform.variant.as_ref().map(|variant| format!("/{variant}")).unwrap_or_default();
        format!("{}/{}{variant}", platform.os, platform.architecture)
    });
    known.collect::<Vec<_>>().join(", ")
}

/// What `docker load` needs of an image: its configuration and its layers, in order.
///
/// # Errors
///
/// [`Failure::Unusable`] when it is no image of one platform, or has layers that are not copied.
pub(super) fn loadable(found: &Found) -> Result<(Descriptor, Vec<Descriptor>), Failure> {
    let wrong =
        |reason: &str| Err(Failure::Unusable(format!("an archive for `docker load` has one image, and {reason}")));
    if is_list(&found.media_type) {
        let known = platforms_of(&Parts::of(&found.bytes, &found.digest)?.manifests);
        return wrong(&format!("{} is an index: choose one of its images by --platform, of {known}", found.digest));
    }
    let document: Document = serde_json::from_slice(&found.bytes)
        .map_err(|error| Failure::Unusable(format!("the manifest {} cannot be read: {error}", found.digest)))?;
    let config = document.config.filter(|config| CONFIGS.contains(&config.media_type.as_str()));
    let Some(config) = config else {
        return wrong(&format!("{} is another artifact: use oci-archive: or oci:", found.digest));
    };
    let layers = document.layers.unwrap_or_default();
    if layers.iter().any(stays_outside) {
        return wrong(&format!("{} has layers that are kept elsewhere: use oci-archive: or oci:", found.digest));
    }
    Ok((config, layers))
}

/// Reads `OS/ARCHITECTURE` or `OS/ARCHITECTURE/VARIANT`.
///
/// # Errors
///
/// When it is neither.
pub fn parse_platform(text: &str) -> Result<Platform, String> {
    let parts: Vec<&str> = text.split('/').collect();
    let (os, architecture, variant) = match parts[..] {
        [os, architecture] => (os, architecture, None),
        [os, architecture, variant] => (os, architecture, Some(variant.to_owned())),
        _ => ("", "", None),
    };
    if os.is_empty() || architecture.is_empty() || variant.as_deref() == Some("") {
        return Err(format!("`{text}` is no platform: write it like linux/arm64 or linux/arm/v7"));
    }
    Ok(Platform { os: os.into(), architecture: architecture.into(), variant, os_version: None })
}

/// The image of an index for a platform: with the same variant, or the first with any when none was asked for.
pub(super) fn for_platform<'a>(manifests: &'a [Descriptor], wanted: &Platform) -> Option<&'a Descriptor> {
    manifests.iter().find(|descriptor| is_for(descriptor, wanted))
}

/// Leaves of an index the images for these platforms, what builders attest of them, and what says no platform.
pub(super) fn keep_platforms(manifests: &mut Vec<Descriptor>, wanted: &[Platform]) {
    let fits = |image: &Descriptor| wanted.iter().any(|wanted| is_for(image, wanted));
    let kept: Vec<String> =
        manifests.iter().filter(|image| fits(image)).map(|image| image.digest.to_string()).collect();
    manifests.retain(|image| {
        let attested = image.annotations.as_ref().and_then(|all| all.get(ATTESTED));
        match attested {
            Some(digest) => kept.contains(digest),
            None => image.platform.is_none() || fits(image),
        }
    });
}

/// Whether an image of an index is for a platform: with the same variant, or with any when none is wanted.
fn is_for(image: &Descriptor, wanted: &Platform) -> bool {
    let variant = |platform: &Platform| match (platform.architecture.as_str(), platform.variant.clone()) {
        // The only variant of arm64: builders name it or not.
        ("arm64", Some(variant)) if variant == "v8" => None,
        (_, variant) => variant.filter(|variant| !variant.is_empty()),
    };
    image.platform.as_ref().is_some_and(|platform| {
        let same = platform.os == wanted.os && platform.architecture == wanted.architecture;
        same && variant(wanted).is_none_or(|wanted| variant(platform) == Some(wanted))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4f72b9807785afee48bb";

    fn parts(document: &str) -> Parts {
        Parts::of(document.replace("A\"", &format!("{A}\"")).as_bytes(), &A.parse().unwrap()).unwrap()
    }

    #[test]
    fn a_manifest_is_made_of_its_blobs_and_an_index_of_manifests_and_others() {
        let image = parts(
            r#"{"config":{"mediaType":"c","digest":"A","size":1},"subject":{"digest":"A"},"layers":[
            {"mediaType":"l","digest":"A","size":2},{"mediaType":"l","digest":"A","size":3,"urls":["https://example.com"]},
            {"mediaType":"application/vnd.oci.image.layer.nondistributable.v1.tar","digest":"A","size":4}]}"#,
        );
        assert_eq!(image.blobs.iter().map(|blob| blob.size).collect::<Vec<_>>(), [1, 2]);
        assert!(image.subject.is_some());
        let index = parts(
            r#"{"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"A","size":1},
            {"mediaType":"application/vnd.oci.image.layer.v1.tar+zstd","digest":"A","size":2}]}"#,
        );
        assert_eq!((index.manifests.len(), index.blobs.len()), (1, 1));
        assert!(Parts::of(b"{\"layers\":1}", &A.parse().unwrap()).is_err());
    }

    #[test]
    fn a_platform_is_found_by_its_name() {
        let of = |text: &str| Descriptor {
            media_type: text.into(),
            digest: A.parse().unwrap(),
            size: 0,
            platform: parse_platform(text).ok(),
            artifact_type: None,
            annotations: None,
            urls: None,
        };
        let index = ["linux/amd64", "linux/arm/v6", "linux/arm/v7", "linux/arm64/v8", "windows/amd64"].map(of);
        for (wanted, expected) in [
            ("linux/amd64", Some("linux/amd64")),
            ("linux/arm", Some("linux/arm/v6")),
            ("linux/arm/v7", Some("linux/arm/v7")),
            ("linux/arm64", Some("linux/arm64/v8")),
            ("linux/arm64/v8", Some("linux/arm64/v8")),
            ("windows/amd64", Some("windows/amd64")),
            ("linux/arm/v5", None),
            ("linux/s390x", None),
        ] {
            let found = for_platform(&index, &parse_platform(wanted).unwrap());
            assert_eq!(found.map(|found| found.media_type.as_str()), expected, "{wanted}");
        }
        for wrong in ["", "linux", "linux/", "/amd64", "linux/arm/", "linux/arm/v7/x"] {
            assert!(parse_platform(wrong).is_err(), "{wrong}");
        }
    }
}
