//! Where images are, as people write it.

use std::net::IpAddr;
use std::path::PathBuf;

use orlop_core::digest::Digest;
use orlop_core::name;
use url::Url;

use crate::settings::redacted::redacted;

/// What Docker Hub's registry is called.
const DOCKER_HUB: &str = "registry-1.docker.io";

/// Where an image is, or is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a registry.
    Registry {
        /// Scheme, host and port.
        url: String,
        /// The repository, as the registry calls it.
        repository: String,
        /// A tag or a digest.
        reference: Option<String>,
    },
    /// In an OCI image layout: its directory and a tag or digest.
    Layout(PathBuf, Option<String>),
    /// In an archive with an OCI image layout: its file and a tag or digest.
    LayoutArchive(PathBuf, Option<String>),
    /// In an archive of `docker save`: its file and the name of the image.
    DockerArchive(PathBuf, Option<String>),
}

impl Place {
    /// Reads `REGISTRY/NAME[:TAG][@DIGEST]`, perhaps behind `http://`, `https://` or `docker://`; `oci:DIRECTORY[:TAG]`,
    /// `oci-archive:FILE[:TAG]` or `docker-archive:FILE[:NAME:TAG]`.
    ///
    /// Without a scheme a registry is spoken to encrypted, unless it is on this machine or `plain` is set.
    ///
    /// # Errors
    ///
    /// When it is none of these: with what to write.
    pub fn parse(text: &str, plain: bool) -> Result<Self, String> {
        let file = |rest: &str| {
            let (path, reference) = rest.split_once(':').map_or((rest, None), |(path, name)| (path, Some(name)));
            let reference = reference.filter(|reference| !reference.is_empty()).map(str::to_owned);
            if path.is_empty() { Err(format!("`{text}` names no file")) } else { Ok((path.into(), reference)) }
        };
        if let Some(rest) = text.strip_prefix("oci:") {
            return file(rest).map(|(path, reference)| Self::Layout(path, reference));
        }
        if let Some(rest) = text.strip_prefix("oci-archive:") {
            return file(rest).map(|(path, reference)| Self::LayoutArchive(path, reference));
        }
        if let Some(rest) = text.strip_prefix("docker-archive:") {
            return file(rest).map(|(path, reference)| Self::DockerArchive(path, reference));
        }
        Self::in_registry(text, plain)
    }

    /// Whether it is in an archive.
    pub fn is_archive(&self) -> bool {
        matches!(self, Self::LayoutArchive(..) | Self::DockerArchive(..))
    }

    /// What `docker load` is to call an image that is copied from here, if that is known.
    pub fn image_name(&self, reference: &str) -> Option<String> {
        match self {
            Self::Registry { url, repository, .. } => {
                let host = url.split_once("://").map_or(url.as_str(), |(_, host)| host);
                let host = if host == DOCKER_HUB { "docker.io" } else { host };
                let tag: name::Tag = reference.parse().ok()?;
                Some(format!("{host}/{repository}:{tag}"))
            }
            Self::DockerArchive(..) => image_name(reference).ok().filter(|_| reference.contains(':')),
            Self::Layout(..) | Self::LayoutArchive(..) => None,
        }
    }

    fn in_registry(text: &str, plain: bool) -> Result<Self, String> {
        let shown = match text.contains("://") {
            true => redacted(text),
            false => redacted(&format!("//{text}"))[2..].to_owned(),
        };
        let (scheme, rest) = match text.split_once("://") {
            Some(("docker", rest)) => (None, rest),
            Some((scheme @ ("http" | "https"), rest)) => (Some(scheme), rest),
            Some((other, _)) => return Err(format!("`{shown}`: {other}:// is no place of images")),
            None => (None, text),
        };
        let wrong = |reason: &str| {
            let like = "write it like registry.example.com/team/app:v1 or oci:DIRECTORY:v1";
            format!("`{shown}` is no place of an image: {reason}; {like}")
        };
        let (host, rest) = rest.split_once('/').ok_or_else(|| wrong("it names no registry"))?;
        if host.contains('@') {
            return Err(wrong(
                "it has a login in it, which is given by --username and --password-file (of `orlop copy`: \
                              --src-username, --dest-username and so on)",
            ));
        }
        if !(host.contains(['.', ':']) || host == "localhost") {
            let hub = format!("it names no registry (on Docker Hub it is docker.io/{rest})", rest = shown);
            return Err(wrong(&hub));
        }
        let (rest, digest) = rest.split_once('@').map_or((rest, None), |(rest, digest)| (rest, Some(digest)));
        let (repository, tag) = rest.rsplit_once(':').map_or((rest, None), |(name, tag)| (name, Some(tag)));
        if let Some(digest) = digest {
            digest.parse::<Digest>().map_err(|_| wrong(&format!("`{digest}` is no digest")))?;
        }
        if let Some(tag) = tag {
            tag.parse::<name::Tag>().map_err(|error| wrong(&error.to_string()))?;
        }
        let hub = matches!(host, "docker.io" | "index.docker.io" | DOCKER_HUB);
        let (host, repository) = match hub {
            true if !repository.contains('/') => (DOCKER_HUB, format!("library/{repository}")),
            true => (DOCKER_HUB, repository.to_owned()),
            false => (host, repository.to_owned()),
        };
        repository.parse::<name::Repository>().map_err(|error| wrong(&error.to_string()))?;
        let scheme = scheme.unwrap_or(if plain || is_this_machine(host) { "http" } else { "https" });
        let url = format!("{scheme}://{host}");
        Url::parse(&url).map_err(|_| wrong(&format!("`{host}` is no host")))?;
        Ok(Self::Registry { url, repository, reference: digest.or(tag).map(str::to_owned) })
    }
}

/// Reads the name of an image as `docker tag` takes it, and adds the tag that it has without one.
///
/// # Errors
///
/// When it is none: with what to write.
pub fn image_name(text: &str) -> Result<String, String> {
    let wrong = |reason: &str| format!("`{text}` is no name of an image: {reason}; write it like team/app:v1");
    let (path, tag) = match text.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, tag),
        _ => (text, "latest"),
    };
    tag.parse::<name::Tag>().map_err(|error| wrong(&error.to_string()))?;
    let repository = match path.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => rest,
        _ => path,
    };
    repository.parse::<name::Repository>().map_err(|error| wrong(&error.to_string()))?;
    Ok(format!("{path}:{tag}"))
}

/// Whether a host, perhaps with a port, is this machine, where nothing needs to be encrypted.
fn is_this_machine(host: &str) -> bool {
    let Ok(url) = Url::parse(&format!("http://{host}")) else { return false };
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(url::Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4f72b9807785afee48bb";

    #[test]
    fn places_are_read_as_docker_and_skopeo_write_them() {
        let check = |text: &str, url: &str, repository: &str, reference: Option<&str>| {
            let expected = Place::Registry {
                url: url.into(),
                repository: repository.into(),
                reference: reference.map(str::to_owned),
            };
            assert_eq!(Place::parse(text, false), Ok(expected), "{text}");
        };
        let (own, hub) = ("https://registry.example.com", "https://registry-1.docker.io");
        check("registry.example.com/team/app:v1", own, "team/app", Some("v1"));
        check("registry.example.com/app", own, "app", None);
        check("docker://registry.example.com:8443/app", "https://registry.example.com:8443", "app", None);
        check(&format!("registry.example.com/app@{DIGEST}"), own, "app", Some(DIGEST));
        check(&format!("registry.example.com/app:v1@{DIGEST}"), own, "app", Some(DIGEST));
        check("docker.io/nginx:1.27", hub, "library/nginx", Some("1.27"));
        check("docker.io/team/app", hub, "team/app", None);
        check("127.0.0.1:5000/app", "http://127.0.0.1:5000", "app", None);
        check("127.1.2.3/app", "http://127.1.2.3", "app", None);
        check("localhost:5000/app", "http://localhost:5000", "app", None);
        check("[::1]:5000/app:v1", "http://[::1]:5000", "app", Some("v1"));
        check("https://127.0.0.1:5000/app", "https://127.0.0.1:5000", "app", None);
        check("http://registry.example.com/app", "http://registry.example.com", "app", None);
        let plain = Place::parse("registry.example.com/app", true);
        assert!(matches!(plain, Ok(Place::Registry { url, .. }) if url == "http://registry.example.com"));
        assert_eq!(Place::parse("oci:a/b:v1", false), Ok(Place::Layout("a/b".into(), Some("v1".into()))));
        assert_eq!(Place::parse("oci:a", false), Ok(Place::Layout("a".into(), None)));
        assert_eq!(Place::parse("oci-archive:a.tar:", false), Ok(Place::LayoutArchive("a.tar".into(), None)));
        let saved = Place::DockerArchive("a.tar".into(), Some("team/app:v1".into()));
        assert_eq!(Place::parse("docker-archive:a.tar:team/app:v1", false), Ok(saved));
    }

    #[test]
    fn an_image_has_a_name_for_docker_load() {
        for (text, expected) in [
            ("app", "app:latest"),
            ("team/app:v1", "team/app:v1"),
            ("registry.example.com:5000/app", "registry.example.com:5000/app:latest"),
            ("localhost/app:v1", "localhost/app:v1"),
        ] {
            assert_eq!(image_name(text).as_deref(), Ok(expected));
        }
        for wrong in ["", "App", "app:", "app:v1:v2", &format!("app@{DIGEST}")] {
            assert!(image_name(wrong).is_err(), "{wrong}");
        }
        let named = |place: &str, reference: &str| Place::parse(place, false).unwrap().image_name(reference);
        assert_eq!(named("docker.io/nginx", "1.27").as_deref(), Some("docker.io/library/nginx:1.27"));
        assert_eq!(named("127.0.0.1:5000/app", "v1").as_deref(), Some("127.0.0.1:5000/app:v1"));
        assert_eq!(named("registry.example.com/app", DIGEST), None);
        assert_eq!(named("docker-archive:a.tar", "team/app:v1").as_deref(), Some("team/app:v1"));
        assert_eq!(named("docker-archive:a.tar", ""), None);
        assert_eq!(named("oci:a", "v1"), None);
    }

    #[test]
    fn what_is_no_place_is_told_with_what_to_write() {
        for (text, expected) in [
            ("", "names no registry"),
            ("nginx", "names no registry"),
            ("team/app:v1", "on Docker Hub it is docker.io/team/app:v1"),
            ("registry.example.com/", "a repository name has"),
            ("registry.example.com/App", "a repository name has"),
            ("registry.example.com/app:", "a tag has"),
            ("registry.example.com/app@sha256:1", "`sha256:1` is no digest"),
            ("https://ci:hush@registry.example.com/app", "`https://…@registry.example.com/app`"),
            ("ci:hush@registry.example.com/app", "it has a login in it"),
            ("ftp://registry.example.com/app", "ftp:// is no place"),
            ("oci:", "names no file"),
        ] {
            let told = Place::parse(text, false).unwrap_err();
            assert!(told.contains(expected), "{text}: {told}");
        }
    }
}
