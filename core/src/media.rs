//! Media types of manifests, and what a client says it accepts (SPEC J3, J6, J7, K5–K7).

use alloc::vec::Vec;

use crate::http::Headers;

/// A media type of manifests that the registry takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManifestType {
    /// `application/vnd.oci.image.manifest.v1+json`
    OciManifest,
    /// `application/vnd.oci.image.index.v1+json`
    OciIndex,
    /// `application/vnd.docker.distribution.manifest.v2+json`
    DockerManifest,
    /// `application/vnd.docker.distribution.manifest.list.v2+json`
    DockerList,
}

impl ManifestType {
    /// Every type.
    pub const ALL: [Self; 4] = [Self::OciManifest, Self::OciIndex, Self::DockerManifest, Self::DockerList];

    /// The type as it is sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OciManifest => "application/vnd.oci.image.manifest.v1+json",
            Self::OciIndex => "application/vnd.oci.image.index.v1+json",
            Self::DockerManifest => "application/vnd.docker.distribution.manifest.v2+json",
            Self::DockerList => "application/vnd.docker.distribution.manifest.list.v2+json",
        }
    }

    /// The type of that name; parameters such as `; charset=utf-8` are ignored (SPEC K5).
    pub fn named(text: &str) -> Option<Self> {
        let name = bare(text);
        Self::ALL.into_iter().find(|media_type| media_type.as_str().eq_ignore_ascii_case(name))
    }

    /// Whether it lists other manifests.
    pub fn is_list(self) -> bool {
        matches!(self, Self::OciIndex | Self::DockerList)
    }

    /// Whether it is one of Docker's.
    pub fn is_docker(self) -> bool {
        matches!(self, Self::DockerManifest | Self::DockerList)
    }
}

/// Whether a media type is that of an image configuration, which tells the platform.
pub(crate) fn is_image_config(media_type: &str) -> bool {
    matches!(media_type, "application/vnd.oci.image.config.v1+json" | "application/vnd.docker.container.image.v1+json")
}

/// Whether layers of that type may stay outside the registry (image-spec, "Non-distributable Layers"; SPEC K11).
pub(crate) fn is_foreign_layer(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.oci.image.layer.nondistributable.")
        || media_type.starts_with("application/vnd.docker.image.rootfs.foreign.")
}

fn bare(text: &str) -> &str {
    text.split(';').next().unwrap_or_default().trim()
}

/// What a client accepts, as far as it decides anything: by itself a manifest is answered as it was pushed,
/// whatever the client accepts (SPEC J6), but the maintained list asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Accept {
    types: Vec<ManifestType>,
    /// A wildcard, nothing at all, or types that are none of ours.
    others: bool,
}

impl Accept {
    /// Reads every `Accept` field; a type with a weight of 0 is not accepted.
    pub(crate) fn read(headers: &Headers) -> Self {
        let mut accept = Self::default();
        for range in headers.all("accept").flat_map(|field| field.split(',')).filter(|range| !range.trim().is_empty()) {
            let weightless = range.split(';').skip(1).any(|parameter| {
                let parameter = parameter.trim();
                let weight = parameter.strip_prefix("q=").or(parameter.strip_prefix("Q="));
                weight.is_some_and(|weight| !weight.is_empty() && weight.bytes().all(|b| matches!(b, b'0' | b'.')))
            });
            match ManifestType::named(range) {
                _ if weightless => {}
                Some(media_type) => accept.types.push(media_type),
                None => accept.others = true,
            }
        }
        accept
    }

    /// Whether it names list types and nothing else.
    pub(crate) fn only_lists(&self) -> bool {
        !self.others && !self.types.is_empty() && self.types.iter().all(|media_type| media_type.is_list())
    }

    /// Whether it names types of single manifests and nothing else.
    pub(crate) fn only_manifests(&self) -> bool {
        !self.others && !self.types.is_empty() && self.types.iter().all(|media_type| !media_type.is_list())
    }

    /// Whether it names this type, or leaves it open.
    pub(crate) fn takes(&self, media_type: ManifestType) -> bool {
        self.others || self.types.is_empty() || self.types.contains(&media_type)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

    /// SPEC J7, U8.
    #[test]
    fn accept_is_read_over_fields_lists_weights_and_parameters() {
        let check = |fields: &[&str], lists: bool, manifests: bool| {
            let accept = Accept::read(&fields.iter().map(|field| ("Accept", *field)).collect());
            assert_eq!((accept.only_lists(), accept.only_manifests()), (lists, manifests), "{fields:?}");
        };
        check(&[], false, false);
        check(&[""], false, false);
        check(&["*/*"], false, false);
        check(&["application/json"], false, false);
        check(&[INDEX], true, false);
        check(&[MANIFEST], false, true);
        check(&[INDEX, MANIFEST], false, false);
        check(&[&format!("{INDEX}, {MANIFEST}")], false, false);
        check(&[&format!("{INDEX};q=0.5, {MANIFEST};q=0")], true, false);
        check(&[&format!("{INDEX};q=0.000, {MANIFEST}; charset=utf-8 ; q=0.1")], false, true);
        check(&[INDEX, "*/*;q=0.1"], false, false);
    }

    #[test]
    fn parameters_of_a_content_type_are_ignored() {
        assert_eq!(ManifestType::named(&format!("{INDEX} ; charset=utf-8")), Some(ManifestType::OciIndex));
        assert_eq!(ManifestType::named("application/json"), None);
    }
}
