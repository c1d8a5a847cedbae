//! Grammars, each held against the regular expressions of the specification, printed and read again.

use orlop_core::config::Pattern;
use orlop_core::digest::{Algorithm, Digest};
use orlop_core::name::{Repository, Tag};
use orlop_core::target::{self, Reference, Target};
use regex::Regex;

use super::text;
use crate::model::grammar::{self, Path};
use crate::tester::challenge;
use crate::tester::exchange::encode;

/// SPEC B1, B2, B4: a repository or a tag.
pub(super) fn name(data: &[u8]) {
    let text = text(data);
    let repository = text.parse::<Repository>();
    assert_eq!(repository.is_ok(), grammar::is_name(&text), "{text:?} as a repository");
    if let Ok(repository) = repository {
        assert_eq!(repository.as_str(), text);
        assert_eq!(repository.to_string().parse(), Ok(repository));
        // Whoever makes a path of it stays where it is.
        assert!(!text.contains("..") && !text.contains("//") && !text.starts_with('/') && !text.contains(['\\', '\0']));
    }
    let tag = text.parse::<Tag>();
    assert_eq!(tag.is_ok(), grammar::is_tag(&text), "{text:?} as a tag");
    if let Ok(tag) = tag {
        assert_eq!(tag.to_string().parse(), Ok(tag));
        assert!(!text.contains(['/', ':', '@']), "{text:?} must not pass for something else");
    }
}

/// SPEC B5–B7: a digest, and what a manifest is called.
pub(super) fn digest(data: &[u8]) {
    let text = text(data);
    let digest = text.parse::<Digest>();
    assert_eq!(digest.is_ok(), grammar::is_digest(&text), "{text:?}");
    if let Ok(digest) = digest {
        assert_eq!(digest.to_string(), text, "one content, one name");
        assert_eq!(digest.encoded().len(), 2 * digest.algorithm().size());
    }
    let reference = text.parse::<Reference>().ok();
    let expected = if text.contains(':') { grammar::is_digest(&text) } else { grammar::is_tag(&text) };
    assert_eq!(reference.is_some(), expected, "{text:?}");
    assert!(reference.is_none_or(|reference| reference.to_string() == text));
    for algorithm in Algorithm::ALL {
        let digest = algorithm.digest(data);
        assert_eq!(digest.to_string().parse(), Ok(digest));
    }
}

/// SPEC B3, B10–B12: a path leads where the model says, and back.
pub(super) fn target(data: &[u8]) {
    let text = text(data);
    let path = text.split('?').next().unwrap_or_default();
    let read = Target::parse(path);
    // The grammar of the specification knows nothing of the API: what is read of its paths is only written again.
    let is_specified = !path.starts_with("/api/v1/");
    match (&read, grammar::route(path)) {
        _ if !is_specified => {}
        (Ok(target), Ok(path)) => assert_eq!(shown(target).as_ref(), Some(&path)),
        (Err(error), Err(refusals)) => {
            let status = error.status().0;
            assert!(refusals.iter().any(|says| says.status == status), "{path:?} is {status}, but {refusals:?}");
        }
        (read, expected) => panic!("{path:?} is {read:?}, but should be {expected:?}"),
    }
    if let Ok(target) = read {
        let again = written(&target);
        assert_eq!(Target::parse(&again).ok(), Some(target), "{path:?} as {again:?}");
    }
}

/// A path of the specification.
fn shown(target: &Target) -> Option<Path> {
    Some(match target {
        Target::Base => Path::Base,
        Target::Catalog => Path::Catalog,
        Target::Tags(name) => Path::Tags(name.to_string()),
        Target::Manifest(name, reference) => Path::Manifest(name.to_string(), reference.to_string()),
        Target::NoManifest(name, reference) => Path::Manifest(name.to_string(), reference.clone()),
        Target::Blob(name, digest) => Path::Blob(name.to_string(), digest.to_string()),
        Target::Uploads(name) => Path::Uploads(name.to_string()),
        Target::Upload(name, id) => Path::Upload(name.to_string(), id.to_string()),
        Target::Referrers(name, digest) => Path::Referrers(name.to_string(), digest.to_string()),
        Target::BrowsedRepositories
        | Target::Folders
        | Target::Search
        | Target::BrowsedTags(_)
        | Target::BrowsedImage(..)
        | Target::Contents(_)
        | Target::Session
        | Target::ProviderSignIn(_)
        | Target::ProviderCallback(_)
        | Target::ApiTokens
        | Target::ApiToken(_)
        | Target::Activity
        | Target::Jobs
        | Target::Mirrors
        | Target::Syncs
        | Target::Damaged
        | Target::Storage
        | Target::Kept(_) => return None,
    })
}

fn written(target: &Target) -> String {
    match target {
        Target::Base => "/v2/".into(),
        Target::Catalog => "/v2/_catalog".into(),
        Target::Tags(name) => format!("/v2/{name}/tags/list"),
        Target::Manifest(name, reference) => format!("/v2/{name}/manifests/{}", encode(&reference.to_string())),
        Target::NoManifest(name, reference) => format!("/v2/{name}/manifests/{}", encode(reference)),
        Target::Blob(name, digest) => format!("/v2/{name}/blobs/{digest}"),
        Target::Uploads(name) => format!("/v2/{name}/blobs/uploads/"),
        Target::Upload(name, id) => format!("/v2/{name}/blobs/uploads/{id}"),
        Target::Referrers(name, digest) => format!("/v2/{name}/referrers/{digest}"),
        Target::BrowsedRepositories => "/api/v1/repositories".into(),
        Target::Folders => "/api/v1/folders".into(),
        Target::Search => "/api/v1/search".into(),
        Target::BrowsedTags(name) => format!("/api/v1/repositories/{name}/tags"),
        Target::BrowsedImage(name, reference) => {
            format!("/api/v1/repositories/{name}/images/{}", encode(&reference.to_string()))
        }
        Target::Contents(name) => format!("/api/v1/repositories/{name}/contents"),
        Target::Session => "/api/v1/session".into(),
        Target::ProviderSignIn(name) => format!("/api/v1/session/oidc/{}", encode(name)),
        Target::ProviderCallback(name) => format!("/api/v1/session/oidc/{}/callback", encode(name)),
        Target::ApiTokens => "/api/v1/tokens".into(),
        Target::ApiToken(id) => format!("/api/v1/tokens/{}", encode(id)),
        Target::Activity => "/api/v1/activity".into(),
        Target::Jobs => "/api/v1/jobs".into(),
        Target::Mirrors => "/api/v1/mirrors".into(),
        Target::Syncs => "/api/v1/syncs".into(),
        Target::Damaged => "/api/v1/damaged".into(),
        Target::Storage => "/api/v1/storage".into(),
        Target::Kept(kept) => format!("/api/v1/{}", kept.segments().join("/")),
    }
}

/// SPEC A9, N9: parameters are read as the model reads them, and carried on as they were.
pub(super) fn query(data: &[u8]) {
    let text = text(data);
    let query = target::Query::parse(&text);
    let model = grammar::Query::read(&text);
    for (name, _) in model.sorted() {
        assert_eq!(query.get(&name), model.get(&name), "{name:?} of {text:?}");
        assert!(query.all(&name).eq(model.all(&name)), "{name:?} of {text:?}");
    }
    let next = query.with("last", &text);
    let url = |b: u8| b.is_ascii_alphanumeric() || b"-._~%=&".contains(&b);
    assert!(next.bytes().all(url), "{next:?} does not stand in a header field as it is");
    let again = target::Query::parse(&next);
    assert_eq!(again.get("last"), Some(text.as_str()));
    for (name, _) in model.sorted().iter().filter(|(name, _)| name != "last") {
        assert!(again.all(name).eq(query.all(name)), "{name:?} of {next:?}");
    }
}

/// A pattern of repositories, a line, and a repository: `*` and `**` as in file names.
pub(super) fn pattern(data: &[u8]) {
    let text = text(data);
    let Some((pattern, name)) = text.split_once('\n') else { return };
    // A regular expression may not be as large as a pattern.
    let (Ok(repository), true) = (name.parse::<Repository>(), pattern.len() < 200) else { return };
    let escaped = regex_of(pattern);
    let Ok(expected) = Regex::new(&escaped) else { return };
    assert_eq!(Pattern::new(pattern).matches(&repository), expected.is_match(name), "{pattern:?} {name:?}");
}

/// Two stars are one that goes across; a third is one of its own.
fn regex_of(pattern: &str) -> String {
    let parts = pattern.split("**").map(|part| {
        let parts = part.split('*').map(regex_escape);
        parts.collect::<Vec<_>>().join("[^/]*")
    });
    format!("^{}$", parts.collect::<Vec<_>>().join(".*"))
}

fn regex_escape(text: &str) -> String {
    text.chars().map(|c| if c.is_alphanumeric() { c.to_string() } else { format!("\\x{{{:x}}}", c as u32) }).collect()
}

/// RFC 9110, 11.6.1: a challenge is read, whatever it is, and one that is well formed as it was meant.
pub(super) fn challenge(data: &[u8]) {
    let text = text(data);
    let _ = challenge::parse(&text);
    let mut lines = text.lines();
    let token = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    let Some(scheme) = lines.next().filter(|scheme| token(scheme)) else { return };
    let parameters: std::collections::BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once('='))
        .filter(|(name, value)| token(name) && !value.contains(['"', '\\']))
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    let written: Vec<_> = parameters.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    for separator in [",", ", "] {
        let challenge = format!("{scheme} {}", written.join(separator));
        assert_eq!(challenge::parse(&challenge), Some((scheme.into(), parameters.clone())), "{challenge}");
    }
}
