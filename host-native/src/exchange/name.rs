//! What images are called in layouts and archives: `v1`, `team/app:v1`, `registry.example.com/team/app@sha256:…`.

use orlop_core::digest::Digest;
use orlop_core::name::{Repository, Tag};

/// Where an image goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Goes {
    pub(super) repository: String,
    /// Its tag, if it has one.
    pub(super) tag: Option<String>,
}

/// Reads where an image goes by its name, or into `repository` if that is given.
///
/// # Errors
///
/// When the name has no repository and none is given, or it is no name.
pub(super) fn goes(name: Option<&str>, repository: Option<&str>) -> Result<Goes, String> {
    let (own, tag) = match name {
        None => (None, None),
        Some("") => return Err("it has an empty name".into()),
        // A tag alone.
        Some(name) if name.parse::<Tag>().is_ok() => (None, Some(name)),
        Some(name) => {
            let (name, digest) = name.split_once('@').map_or((name, None), |(name, digest)| (name, Some(digest)));
            if digest.is_some_and(|digest| digest.parse::<Digest>().is_err()) {
                return Err("its name ends with what is no digest".into());
            }
            match name.rsplit_once(':') {
                Some((path, tag)) if !tag.contains('/') => (Some(path), Some(tag)),
                _ => (Some(name), None),
            }
        }
    };
    let own = own.map(without_host);
    let Some(into) = repository.or(own) else {
        return Err("it says no repository: name one with --repository".into());
    };
    into.parse::<Repository>().map_err(|_| format!("`{into}` is no name of a repository"))?;
    if let Some(tag) = tag {
        tag.parse::<Tag>().map_err(|_| format!("`{tag}` is no tag"))?;
    }
    Ok(Goes { repository: into.into(), tag: tag.map(str::to_owned) })
}

fn without_host(path: &str) -> &str {
    let is_host = |host: &str| {
        let begins = host.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[');
        begins && (host.contains(['.', ':']) || host == "localhost")
    };
    match path.split_once('/') {
        Some((host, rest)) if is_host(host) => rest,
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_goes_where_its_name_says_or_into_the_repository_that_is_named() {
        let digest = "sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4f72b9807785afee48bb";
        let pinned = format!("team/app@{digest}");
        for (name, repository, expected) in [
            (Some("v1"), Some("a"), Some(("a", Some("v1")))),
            (Some("v1"), None, None),
            (None, Some("a"), Some(("a", None))),
            (None, None, None),
            (Some("team/app:v1"), None, Some(("team/app", Some("v1")))),
            (Some("team/app:v1"), Some("b"), Some(("b", Some("v1")))),
            (Some("registry.example.com:5000/team/app:v1"), None, Some(("team/app", Some("v1")))),
            (Some("docker.io/library/debian:12"), None, Some(("library/debian", Some("12")))),
            (Some(&pinned), None, Some(("team/app", None))),
            (Some("team/app"), None, Some(("team/app", None))),
            (Some("team/app@sha256:1"), None, None),
            (Some("../x:v1"), None, None),
            (Some("a/../../b:v1"), None, None),
            (Some("Team/app:v1"), None, None),
            (Some("team/app:-"), None, None),
        ] {
            let goes = goes(name, repository).ok();
            let goes = goes.as_ref().map(|goes| (goes.repository.as_str(), goes.tag.as_deref()));
            assert_eq!(goes, expected, "{name:?} {repository:?}");
        }
    }
}
