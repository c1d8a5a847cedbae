//! The platforms for which a mirror fetches images (SPEC V23).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use crate::digest::Digest;
use crate::manifest::Platform;

/// Platforms as settings name them: `linux/amd64`, `linux/arm/v7`. Without a variant it is those of any variant. Versions
/// and features of the system do not matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlatformPattern {
    os: String,
    architecture: String,
    variant: Option<String>,
}

/// The text names no platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidPlatform;

impl fmt::Display for InvalidPlatform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a platform is written like linux/amd64 or linux/arm/v7")
    }
}

impl core::error::Error for InvalidPlatform {}

impl FromStr for PlatformPattern {
    type Err = InvalidPlatform;

    /// `os "/" architecture ["/" variant]`, of lowercase letters, digits, `.`, `_` and `-`.
    fn from_str(text: &str) -> Result<Self, InvalidPlatform> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
        let parts: Vec<&str> = text.split('/').collect();
        if parts.iter().any(|part| part.is_empty() || !part.bytes().all(plain)) {
            return Err(InvalidPlatform);
        }
        let (os, architecture, variant) = match parts.as_slice() {
            [os, architecture] => (*os, *architecture, None),
            [os, architecture, variant] => (*os, *architecture, Some(String::from(*variant))),
            _ => return Err(InvalidPlatform),
        };
        Ok(Self { os: os.into(), architecture: architecture.into(), variant })
    }
}

impl PlatformPattern {
    fn matches(&self, platform: &Platform) -> bool {
        // The variant v8 of arm64 is the only one that builders leave out.
        let usual = if platform.architecture == "arm64" { "v8" } else { "" };
        let variant = platform.variant.as_deref().filter(|variant| !variant.is_empty()).unwrap_or(usual);
        let same = self.os == platform.os && self.architecture == platform.architecture;
        same && self.variant.as_deref().is_none_or(|wanted| wanted == variant)
    }
}

/// An index, as far as it says for which platforms its images are.
#[derive(Deserialize)]
struct Listed {
    manifests: Vec<Image>,
}

/// An entry of an index. A field that does not read is one that is not given.
#[derive(Deserialize)]
struct Image {
    digest: Digest,
    #[serde(default, deserialize_with = "readable")]
    platform: Option<Platform>,
    #[serde(default, deserialize_with = "readable")]
    annotations: Option<BTreeMap<String, String>>,
}

fn readable<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).ok())
}

impl Image {
    /// Its platform, if it has one: builders call that of an attestation `unknown/unknown`.
    fn platform(&self) -> Option<&Platform> {
        self.platform.as_ref().filter(|platform| platform.os != "unknown" && platform.architecture != "unknown")
    }

    /// The image that it is an attestation of.
    fn attests(&self) -> Option<Digest> {
        self.annotations.as_ref()?.get("vnd.docker.reference.digest")?.parse().ok()
    }
}

/// What an index lists for platforms of which none is `wanted`, and the name of the platform. An attestation goes with the
/// image that it is about. What has no platform, or is listed for a wanted one too, is not among it.
pub(crate) fn left_out(index: &[u8], wanted: &[PlatformPattern]) -> BTreeMap<Digest, String> {
    let Ok(Listed { manifests }) = serde_json::from_slice(index) else { return BTreeMap::new() };
    let (mut left_out, mut taken) = (BTreeMap::new(), BTreeSet::new());
    for image in &manifests {
        match image.platform() {
            Some(platform) if !wanted.iter().any(|pattern| pattern.matches(platform)) => {
                left_out.insert(image.digest, platform.name());
            }
            None if image.attests().is_some() => {}
            _ => drop(taken.insert(image.digest)),
        }
    }
    left_out.retain(|digest, _| !taken.contains(digest));
    for attestation in manifests.iter().filter(|image| image.platform().is_none()) {
        let platform = attestation.attests().and_then(|image| left_out.get(&image).cloned());
        if let Some(platform) = platform.filter(|_| !taken.contains(&attestation.digest)) {
            left_out.insert(attestation.digest, platform);
        }
    }
    left_out
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use serde_json::json;

    use super::*;

    fn digest(number: u8) -> Digest {
        format!("sha256:{}", format!("{number:02x}").repeat(32)).parse().expect("a digest")
    }

    #[test]
    fn a_platform_is_written_as_builders_write_it() {
        for text in ["linux/amd64", "linux/arm/v7", "windows/amd64", "linux/386"] {
            assert!(text.parse::<PlatformPattern>().is_ok(), "{text}");
        }
        for text in ["", "linux", "linux/", "/amd64", "linux/arm/v7/x", "Linux/amd64", "linux/*"] {
            assert_eq!(text.parse::<PlatformPattern>(), Err(InvalidPlatform), "{text}");
        }
    }

    #[test]
    fn an_image_is_for_a_platform_whatever_it_leaves_out() {
        let check = |wanted: &str, platform: serde_json::Value, expected: bool| {
            let index = json!({ "manifests": [{ "digest": digest(1), "platform": platform }] });
            let wanted = [wanted.parse().expect("a platform")];
            let taken = left_out(format!("{index}").as_bytes(), &wanted).is_empty();
            assert_eq!(taken, expected, "{wanted:?} {index}");
        };
        let of = |os: &str, architecture: &str, variant: &str| match variant {
            "" => json!({ "os": os, "architecture": architecture }),
            _ => json!({ "os": os, "architecture": architecture, "variant": variant }),
        };
        check("linux/amd64", of("linux", "amd64", ""), true);
        check("linux/amd64", of("linux", "amd64", "v2"), true);
        check("linux/amd64", of("windows", "amd64", ""), false);
        check("linux/arm64/v8", of("linux", "arm64", ""), true);
        check("linux/arm64/v8", of("linux", "arm64", "v8"), true);
        check("linux/arm64/v8", of("linux", "arm64", "v9"), false);
        check("linux/arm/v7", of("linux", "arm", "v6"), false);
        check("linux/arm/v7", of("linux", "arm", ""), false);
        check("linux/arm", of("linux", "arm", "v6"), true);
        // What is no platform leaves nothing out.
        check("linux/arm", json!(null), true);
        check("linux/arm", json!("linux/amd64"), true);
        check("linux/arm", of("unknown", "unknown", ""), true);
        let version = json!({ "os": "windows", "architecture": "amd64", "os.version": "10.0.20348.1" });
        check("windows/amd64", version, true);
    }

    #[test]
    fn an_attestation_goes_with_its_image() {
        let platform = |architecture: &str| json!({ "os": "linux", "architecture": architecture });
        let attests = |number: u8, image: u8| {
            let unknown = json!({ "os": "unknown", "architecture": "unknown" });
            let annotations = json!({ "vnd.docker.reference.digest": digest(image) });
            json!({ "digest": digest(number), "platform": unknown, "annotations": annotations })
        };
        let index = json!({ "manifests": [
            attests(3, 1),
            { "digest": digest(1), "platform": platform("amd64") },
            { "digest": digest(2), "platform": platform("s390x") },
            attests(4, 2),
            attests(5, 9),
            { "digest": digest(6), "platform": platform("s390x") },
            { "digest": digest(6), "platform": platform("amd64") },
        ]});
        let wanted = ["linux/amd64".parse().expect("a platform")];
        let found = left_out(format!("{index}").as_bytes(), &wanted);
        let s390x = || String::from("linux/s390x");
        assert_eq!(found, [(digest(2), s390x()), (digest(4), s390x())].into());
        assert_eq!(left_out(b"no index", &wanted), BTreeMap::new());
    }
}
