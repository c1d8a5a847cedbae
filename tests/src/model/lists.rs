//! Tags, the catalog and referrers (SPEC M, N, O).

use serde_json::{Value as Json, json};

use super::grammar::Query;
use super::{Model, Refusals, Says};
use crate::image::OCI_INDEX;

/// The names after `last`, at most `n`, and whether there are more (SPEC N3, N4, N7).
fn page<'a>(names: impl Iterator<Item = &'a String>, query: &Query, n: usize) -> (Vec<String>, bool) {
    let names: Vec<_> =
        names.filter(|name| query.get("last").is_none_or(|last| name.as_str() > last)).cloned().collect();
    let page: Vec<_> = names.iter().take(n).cloned().collect();
    let more = n > 0 && page.len() < names.len();
    (page, more)
}

/// The link to what comes after a page (SPEC N9).
fn link(says: Says, path: &str, query: &Query, last: Option<&String>) -> Says {
    match last {
        Some(last) => says.with("Link", format!("<{path}?{}>; rel=\"next\"", query.with("last", last).encoded())),
        None => says,
    }
}

/// The number of names that are wanted (SPEC N5).
fn number(query: &Query, default: usize) -> Result<usize, Refusals> {
    let Some(n) = query.get("n").filter(|n| !n.is_empty()) else { return Ok(default) };
    if n.bytes().all(|b| b.is_ascii_digit()) {
        Ok(n.parse().unwrap_or(usize::MAX))
    } else {
        Err(vec![Says::refusal(400, "PAGINATION_NUMBER_INVALID")])
    }
}

impl Model {
    pub(super) fn tags(&self, name: &str, query: &Query) -> Result<Says, Refusals> {
        // SPEC N6.
        let n = number(query, usize::MAX).map(|n| n.min(100_000));
        let repository = self.repositories.get(name);
        let (Ok(n), Some(repository)) = (&n, repository) else {
            let unknown = repository.is_none().then(|| Says::refusal(404, "NAME_UNKNOWN"));
            return Err(n.err().into_iter().flatten().chain(unknown).collect());
        };
        let (tags, more) = page(repository.tags.keys(), query, *n);
        let says = Says::new(200).json(json!({ "name": name, "tags": tags }));
        Ok(link(says, &format!("/v2/{name}/tags/list"), query, tags.last().filter(|_| more)))
    }

    pub(super) fn catalog(&self, query: &Query) -> Result<Says, Refusals> {
        // SPEC O2.
        let n = number(query, 100)?.min(1000);
        let (repositories, more) = page(self.repositories.keys(), query, n);
        let says = Says::new(200).json(json!({ "repositories": repositories }));
        Ok(link(says, "/v2/_catalog", query, repositories.last().filter(|_| more)))
    }

    pub(super) fn referrers(&self, name: &str, subject: &str, query: &Query) -> Says {
        let types: Vec<&str> = query.all("artifactType").filter(|wanted| !wanted.is_empty()).collect();
        let manifests = self.repositories.get(name).into_iter().flat_map(|repository| &repository.manifests);
        let referrers = manifests.filter(|(_, manifest)| manifest.subject.as_deref() == Some(subject));
        let entries = referrers.map(|(digest, manifest)| {
            let mut entry = manifest.described.clone();
            entry["mediaType"] = manifest.media_type.into();
            entry["digest"] = digest.as_str().into();
            entry["size"] = manifest.bytes.len().into();
            entry
        });
        // SPEC M6.
        let wanted = |entry: &Json| types.is_empty() || types.iter().any(|wanted| entry["artifactType"] == *wanted);
        let says = Says::new(200).index(OCI_INDEX, entries.filter(wanted).collect());
        if types.is_empty() { says } else { says.with("OCI-Filters-Applied", "artifactType") }
    }
}
