//! Manifests: read for what the registry must know of them, never rewritten (SPEC J9, K).
//!
//! The reading is strict where two readers might see two different things in one document (CVE-2021-41190):
//! the media type in the document against the one in the header, `manifests` beside `layers`, a known field
//! given twice. It is tolerant everywhere else: unknown fields and types, empty lists, blobs as children.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::config::{MANIFEST_NEEDS, PLATFORM_BYTES};
use crate::digest::Digest;
use crate::error::Error;
use crate::media::{self, ManifestType};

/// Annotations, in the order of their keys.
pub(crate) type Annotations = BTreeMap<String, String>;

/// A manifest or index, as far as the registry reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) media_type: ManifestType,
    /// What the manifest is about, if it refers to another one.
    pub(crate) subject: Option<Digest>,
    /// `artifactType`, or for an image manifest the media type of its config (SPEC M4).
    pub(crate) artifact_type: Option<String>,
    pub(crate) annotations: Option<Annotations>,
    /// The configuration, if it is one of an image: it tells the platform.
    pub(crate) image_config: Option<Named>,
    /// What the manifest is made of.
    pub(crate) needs: BTreeMap<Digest, Need>,
    /// The bytes of the config and the layers as it says them; 0 of an index.
    pub(crate) content: u64,
}

/// How a manifest needs something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    /// A layer that may stay outside the registry (SPEC K11).
    Optional,
    /// A child of an index: another manifest, or a blob (as in build caches).
    Child,
    /// A config or layer.
    Blob,
}

/// A descriptor inside a manifest (image-spec, "Content Descriptors"), as far as it decides anything: a field that
/// does not refuses no manifest either.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Named {
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    size: u64,
    /// The content itself, in base64.
    data: Option<String>,
    /// Where else the content is to be had.
    urls: Option<Vec<String>>,
}

/// A descriptor that the registry makes: in the answer of the referrers API and in a maintained list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) artifact_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) annotations: Option<Annotations>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<Platform>,
}

/// An index that the registry makes.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index {
    schema_version: u64,
    media_type: &'static str,
    manifests: Vec<Descriptor>,
}

/// A platform, as an image configuration names it and an index repeats it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Platform {
    pub(crate) architecture: String,
    pub(crate) os: String,
    #[serde(default, rename = "os.version", skip_serializing_if = "Option::is_none")]
    pub(crate) os_version: Option<String>,
    #[serde(default, rename = "os.features", skip_serializing_if = "Option::is_none")]
    pub(crate) os_features: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) variant: Option<String>,
}

/// The fields of both kinds of document, so that one reading sees everything.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: u64,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Object<Named>>,
    #[serde(default, deserialize_with = "given")]
    layers: Option<Vec<Object<Named>>>,
    #[serde(default, deserialize_with = "given")]
    manifests: Option<Vec<Object<Named>>>,
    subject: Option<Object<Named>>,
    annotations: Option<Annotations>,
    /// Only in schema 1.
    #[serde(rename = "fsLayers")]
    fs_layers: Option<serde::de::IgnoredAny>,
}

/// A field that is there counts as given, even if it is `null`: Go writes an empty list like that.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<Object<Named>>>, D::Error> {
    Ok(Some(Option::deserialize(deserializer)?.unwrap_or_default()))
}

/// What is written as a JSON object. A derived reading would also take the bare list of the values, in which other
/// readers see nothing.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields(PhantomData)).map(Self)
    }
}

/// Reads the fields of an [`Object`].
struct Fields<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

/// What a document looks like, for one whose media type is not known.
pub(crate) struct Shape {
    pub(crate) schema_version: Option<u64>,
    pub(crate) media_type: Option<String>,
    pub(crate) has_manifests: bool,
}

impl Shape {
    /// Looks at a document; with what is wrong, if it is none.
    pub(crate) fn of(bytes: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Outline {
            schema_version: Option<u64>,
            media_type: Option<String>,
            manifests: Option<serde::de::IgnoredAny>,
        }
        let outline = serde_json::from_slice(bytes);
        let Object::<Outline>(outline) = outline.map_err(|error| format!("the manifest cannot be read: {error}"))?;
        let Outline { schema_version, media_type, manifests } = outline;
        Ok(Self { schema_version, media_type, has_manifests: manifests.is_some() })
    }
}

/// What a manifest that [was read](Manifest::parse) names, with the sizes that it says: config, layers, and children.
pub(crate) fn sizes(bytes: &[u8]) -> Vec<(Digest, u64)> {
    #[derive(Deserialize)]
    struct Sized {
        digest: Digest,
        size: u64,
    }
    #[derive(Deserialize)]
    struct Parts {
        config: Option<Sized>,
        layers: Option<Vec<Sized>>,
        manifests: Option<Vec<Sized>>,
    }
    let Ok(Parts { config, layers, manifests }) = serde_json::from_slice(bytes) else { return Vec::new() };
    let parts = config.into_iter().chain(layers.into_iter().flatten()).chain(manifests.into_iter().flatten());
    parts.map(|part| (part.digest, part.size)).collect()
}

impl Manifest {
    /// Reads a manifest that was sent as `content_type`.
    ///
    /// # Errors
    ///
    /// [`Error::Manifest`], saying what is wrong (SPEC K6–K8).
    pub(crate) fn parse(bytes: &[u8], content_type: Option<&str>) -> Result<Self, Error> {
        let refuse = |reason: &str| Error::Manifest(reason.into());
        // RFC 8259, 8.1. What is skipped while reading would not be looked at, and clients differ in what they see.
        let text = core::str::from_utf8(bytes).map_err(|_| refuse("the manifest is no UTF-8"))?;
        let Object::<Document>(document) = serde_json::from_str(text)
            .map_err(|error| Error::Manifest(format!("the manifest cannot be read: {error}")))?;
        // Go writes an empty string where others leave the field out.
        let inner = document.media_type.filter(|inner| !inner.is_empty());
        if document.schema_version != 2 || document.fs_layers.is_some() {
            return Err(refuse("only manifests of schema version 2 are taken"));
        }
        let declared = content_type.or(inner.as_deref());
        let declared = declared.ok_or_else(|| refuse("neither Content-Type nor `mediaType` says what this is"))?;
        let media_type = ManifestType::named(declared)
            .ok_or_else(|| Error::Manifest(format!("`{declared}` is no type of manifest that is taken here")))?;
        // SPEC K6: what is served under one type must not be another to whoever reads the document.
        if inner.is_some_and(|inner| inner != media_type.as_str()) {
            return Err(refuse("Content-Type and `mediaType` do not agree"));
        }
        if document.manifests.is_some() && (document.layers.is_some() || document.config.is_some()) {
            return Err(refuse("a document with `manifests` beside `config` or `layers` is two things at once"));
        }

        let mut needs = BTreeMap::new();
        let mut need = |digest: Digest, how: Need| {
            let known = needs.entry(digest).or_insert(how);
            *known = how.max(*known);
        };
        let mut artifact_type = document.artifact_type.filter(|artifact_type| !artifact_type.is_empty());
        let (mut image_config, mut content) = (None, 0_u64);
        if media_type.is_list() {
            let manifests = document.manifests.ok_or_else(|| refuse("an index has `manifests`"))?;
            manifests.iter().for_each(|Object(child)| need(child.digest, Need::Child));
        } else {
            let Object(config) = document.config.ok_or_else(|| refuse("an image manifest has a `config`"))?;
            need(config.digest, Need::Blob);
            content = config.size;
            for Object(layer) in document.layers.iter().flatten() {
                let foreign =
                    media::is_foreign_layer(&layer.media_type) || layer.urls.iter().flatten().next().is_some();
                content = content.saturating_add(layer.size);
                need(layer.digest, if foreign { Need::Optional } else { Need::Blob });
            }
            artifact_type = artifact_type.or_else(|| Some(config.media_type.clone()));
            image_config = Some(config).filter(|config| media::is_image_config(&config.media_type));
        }
        if needs.len() > MANIFEST_NEEDS {
            return Err(Error::Manifest(format!("a manifest names at most {MANIFEST_NEEDS} blobs or manifests here")));
        }
        let subject = document.subject.map(|Object(subject)| subject.digest);
        Ok(Self { media_type, subject, artifact_type, annotations: document.annotations, image_config, needs, content })
    }

    /// The descriptor under which the referrers of its subject list this manifest (SPEC M3–M5).
    pub(crate) fn referrer(&self, digest: Digest, size: u64) -> Descriptor {
        Descriptor {
            artifact_type: self.artifact_type.clone(),
            annotations: self.annotations.clone(),
            ..Descriptor::new(self.media_type, digest, size)
        }
    }
}

impl Descriptor {
    pub(crate) fn new(media_type: ManifestType, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.as_str().to_string(),
            digest,
            size,
            artifact_type: None,
            annotations: None,
            platform: None,
        }
    }
}

impl Index {
    pub(crate) fn new(media_type: ManifestType, manifests: Vec<Descriptor>) -> Self {
        Self { schema_version: 2, media_type: media_type.as_str(), manifests }
    }
}

impl Named {
    /// The content, if it is inline and is what the digest says.
    pub(crate) fn inline(&self) -> Option<Vec<u8>> {
        let bytes = BASE64_STANDARD.decode(self.data.as_deref()?).ok()?;
        (self.digest.algorithm().digest(&bytes) == self.digest).then_some(bytes)
    }
}

impl Platform {
    /// Reads the platform of an image configuration; `None` when it names none, or one longer than any is: a list
    /// repeats it.
    pub(crate) fn of_config(bytes: &[u8]) -> Option<Self> {
        let Object::<Self>(platform) = serde_json::from_slice(bytes).ok()?;
        let named = |text: &str| !text.is_empty() && text != "unknown";
        let features = platform.os_features.iter().flatten();
        let texts = [&platform.os, &platform.architecture].into_iter().chain(&platform.os_version);
        let length: usize = texts.chain(&platform.variant).chain(features).map(|text| text.len() + 1).sum();
        (named(&platform.os) && named(&platform.architecture) && length <= PLATFORM_BYTES).then_some(platform)
    }

    /// What tells this platform from others, such as `linux/arm/v7`. The variant v8 of arm64 is the only one,
    /// and builders name it or not: it is left out. Of a version of Windows only the first three numbers tell which
    /// host can run the image; the fourth is the patch, and a newer patch takes the place of an older.
    pub(crate) fn name(&self) -> String {
        let mut name = format!("{}/{}", self.os, self.architecture);
        match self.variant.as_deref() {
            None | Some("") => {}
            Some("v8") if self.architecture == "arm64" => {}
            Some(variant) => name.push_str(&format!("/{variant}")),
        }
        if let Some(version) = &self.os_version {
            let patch = version.match_indices('.').nth(2).filter(|_| self.os == "windows");
            name.push_str(&format!(":{}", patch.map_or(version.as_str(), |(at, _)| &version[..at])));
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4f72b9807785afee48bb";
    const B: &str = "sha256:3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d";
    const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
    const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";
    const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

    fn descriptor(media_type: &str, digest: &str) -> String {
        format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":1}}"#)
    }

    fn image(extra: &str) -> String {
        format!(r#"{{"schemaVersion":2,"config":{},"layers":[]{extra}}}"#, descriptor(CONFIG, A))
    }

    fn refused(document: &str, content_type: Option<&str>) {
        let result = Manifest::parse(document.as_bytes(), content_type);
        assert!(matches!(result, Err(Error::Manifest(_))), "{document} as {content_type:?}: {result:?}");
    }

    #[test]
    fn a_manifest_is_read_for_what_it_needs() {
        let layer = descriptor("application/vnd.oci.image.layer.v1.tar+gzip", B);
        let document =
            format!(r#"{{"schemaVersion":2,"config":{},"layers":[{layer},{layer}]}}"#, descriptor(CONFIG, A));
        let manifest = Manifest::parse(document.as_bytes(), Some(OCI)).expect("a manifest");
        assert_eq!(manifest.needs.values().collect::<Vec<_>>(), [&Need::Blob, &Need::Blob]);
        assert_eq!(manifest.content, 3);
        assert_eq!(manifest.artifact_type.as_deref(), Some(CONFIG));
        assert_eq!(manifest.image_config.expect("an image").digest.to_string(), A);
    }

    /// SPEC K11.
    #[test]
    fn foreign_layers_need_not_be_there() {
        for layer in [
            descriptor("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", B),
            descriptor("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", B),
            format!(r#"{{"mediaType":"x","digest":"{B}","size":1,"urls":["https://example.com/x"]}}"#),
        ] {
            let document = format!(r#"{{"schemaVersion":2,"config":{},"layers":[{layer}]}}"#, descriptor(CONFIG, A));
            let manifest = Manifest::parse(document.as_bytes(), Some(OCI)).expect("a manifest");
            assert_eq!(manifest.needs[&B.parse().expect("a digest")], Need::Optional);
        }
    }

    /// SPEC K6, K7: missing types, parameters, and types that do not agree.
    #[test]
    fn the_type_comes_from_the_header_or_the_document_and_they_must_agree() {
        let with_type = image(&format!(r#","mediaType":"{OCI}""#));
        assert!(Manifest::parse(image("").as_bytes(), Some(OCI)).is_ok());
        assert!(Manifest::parse(with_type.as_bytes(), None).is_ok());
        assert!(Manifest::parse(with_type.as_bytes(), Some(&format!("{OCI}; charset=utf-8"))).is_ok());
        refused(&image(""), None);
        refused(&image(""), Some("application/json"));
        refused(&image(""), Some(INDEX));
        refused(&with_type, Some(DOCKER));
        refused(&image(""), Some("application/vnd.docker.distribution.manifest.v1+prettyjws"));
    }

    /// SPEC K8, U12.
    #[test]
    fn what_is_no_manifest_is_refused() {
        let digests = (0..=MANIFEST_NEEDS).map(|n| crate::digest::Algorithm::Sha256.digest(&n.to_be_bytes()));
        let layers: Vec<_> = digests.map(|digest| descriptor("a", &digest.to_string())).collect();
        let many =
            format!(r#"{{"schemaVersion":2,"config":{},"layers":[{}]}}"#, descriptor(CONFIG, A), layers.join(","));
        let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        for document in [
            "",
            "{",
            "{}",
            "[]",
            "null",
            "1",
            r#"{"schemaVersion":1}"#,
            r#"{"schemaVersion":2}"#,
            r#"{"schemaVersion":"2"}"#,
            r#"{"schemaVersion":2,"config":{}}"#,
            r#"{"schemaVersion":2,"config":null}"#,
            &image(r#","manifests":[]"#),
            &image(r#","manifests":null"#),
            &image(r#","layers":[]"#),
            &image(r#","fsLayers":[]"#),
            &image(r#","subject":{"digest":"x"}"#),
            &image(r#","annotations":{"a":1}"#),
            &image(r#","annotations":[]"#),
            &format!(r#"{{"schemaVersion":2,"config":{},"layers":{{}}}}"#, descriptor(CONFIG, A)),
            &format!(r#"{{"schemaVersion":2,"config":{}}}"#, descriptor(CONFIG, "sha256:bad")),
            &format!(r#"{{"schemaVersion":2,"config":{{"mediaType":"a","digest":"{A}","size":-1}}}}"#),
            &format!(r#"{{"schemaVersion":2,"config":{{"mediaType":"a","digest":"{A}","size":1e400}}}}"#),
            &format!(r#"{{"schemaVersion":2,"x":{deep}}}"#),
            &many,
            &format!(r#"{{"schemaVersion":2,"config":["a","{A}",1,null,null]}}"#),
            &format!("[2,null,null,{},[],null,null,null,null]", descriptor(CONFIG, A)),
        ] {
            refused(document, Some(OCI));
        }
        for field in ["custom", "mediaType"] {
            let with_field = image(&format!(r#","{field}":"?""#)).into_bytes();
            let no_text: Vec<u8> = with_field.into_iter().map(|b| if b == b'?' { 0xff } else { b }).collect();
            assert!(Manifest::parse(&no_text, Some(OCI)).is_err(), "{field}");
        }
        refused(r#"{"schemaVersion":2}"#, Some(INDEX));
        refused(r#"{"schemaVersion":2,"layers":[]}"#, Some(INDEX));
    }

    /// SPEC K12.
    #[test]
    fn what_is_unknown_or_empty_is_no_error() {
        for document in [
            image(""),
            image(r#","custom":{"deep":[1,2.5e3,null]},"artifactType":"a/b""#),
            format!(r#"{{"schemaVersion":2,"config":{}}}"#, descriptor("x/y", A)),
            format!(r#"{{"schemaVersion":2,"layers":null,"subject":null,"config":{}}}"#, descriptor("", A)),
            format!(r#"{{"schemaVersion":2,"mediaType":"","config":{}}}"#, descriptor(CONFIG, A)),
            format!(
                r#"{{"schemaVersion":2,"config":{{"mediaType":"a","digest":"{A}","size":1,"platform":7,"annotations":[]}}}}"#
            ),
        ] {
            assert!(Manifest::parse(document.as_bytes(), Some(OCI)).is_ok(), "{document}");
        }
        for document in [r#"{"schemaVersion":2,"manifests":[]}"#, r#"{"schemaVersion":2,"manifests":null}"#] {
            assert!(Manifest::parse(document.as_bytes(), Some(INDEX)).is_ok(), "{document}");
        }
    }

    /// SPEC M4: an index has no config to take a type from.
    #[test]
    fn an_index_without_artifact_type_has_none() {
        let manifest = Manifest::parse(br#"{"schemaVersion":2,"manifests":[]}"#, Some(INDEX)).expect("an index");
        assert_eq!(manifest.artifact_type, None);
    }

    #[test]
    fn a_platform_is_named_as_people_do() {
        let check = |config: &str, expected: Option<&str>| {
            let name = Platform::of_config(config.as_bytes()).map(|platform| platform.name());
            assert_eq!(name.as_deref(), expected, "{config}");
        };
        check(r#"{"os":"linux","architecture":"amd64","rootfs":{}}"#, Some("linux/amd64"));
        check(r#"{"os":"linux","architecture":"arm","variant":"v7"}"#, Some("linux/arm/v7"));
        check(r#"{"os":"linux","architecture":"arm64","variant":"v8"}"#, Some("linux/arm64"));
        check(r#"{"os":"windows","architecture":"amd64","os.version":"10.0.1"}"#, Some("windows/amd64:10.0.1"));
        check(r#"{"os":"windows","architecture":"amd64","os.version":"10.0.1.7"}"#, Some("windows/amd64:10.0.1"));
        check(r#"{"os":"x","architecture":"y","os.version":"1.2.3.4"}"#, Some("x/y:1.2.3.4"));
        check(&format!(r#"{{"os":"linux","architecture":"{}"}}"#, "a".repeat(1000)), None);
        check(&format!(r#"{{"os":"linux","architecture":"a","os.features":[{}""]}}"#, "\"\",".repeat(1000)), None);
        check(r#"["amd64","linux",null,null,null]"#, None);
        check(r#"{"os":"unknown","architecture":"unknown"}"#, None);
        check(r#"{"os":"linux"}"#, None);
        check("{}", None);
        check("x", None);
    }
}
