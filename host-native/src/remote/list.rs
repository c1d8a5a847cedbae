//! Lists of a registry: tags and referrers, page by page (OCI distribution-spec, "Content Discovery").

use std::collections::BTreeMap;

use hyper::Method;
use hyper::header::{ACCEPT, HeaderMap, HeaderValue, LINK};
use orlop_core::digest::Digest;
use serde::{Deserialize, Serialize};
use url::Url;

use super::exchange::{Arrived, Outgoing};
use super::failure::Failure;
use super::{Inner, Remote};

/// How large a page may be in bytes.
const PAGE_BYTES: usize = 8 << 20;

/// How many pages a list may have, and so how many requests a list costs at most.
const PAGES: usize = 2000;

/// How many bytes a list may have, with all of its pages.
const LIST_BYTES: usize = 64 << 20;

/// The media type of an index.
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// What a manifest, an index or a list of referrers says of something else (image-spec, "Content Descriptors").
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What kind of content it is.
    pub media_type: String,
    /// The digest of the content.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Which machines it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// What kind of artifact it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Whatever else is said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
    /// Where else it is to be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub urls: Option<Vec<String>>,
}

/// A platform (image-spec, "Image Index").
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// The operating system, such as `linux`.
    pub os: String,
    /// The architecture, such as `arm64`.
    pub architecture: String,
    /// The variant of the architecture, such as `v7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// The version of the operating system.
    #[serde(default, rename = "os.version", skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
}

/// An index, as far as lists need it.
#[derive(Deserialize)]
struct Index {
    manifests: Option<Vec<Descriptor>>,
}

#[derive(Deserialize)]
struct Tags {
    /// `null` where there are none, in registries written in Go. A page without it is no list of tags.
    #[serde(deserialize_with = "Option::deserialize")]
    tags: Option<Vec<String>>,
}

impl Remote {
    /// All tags of a repository, as the registry orders them.
    ///
    /// # Errors
    ///
    /// [`Failure::Absent`] when there is no such repository, [`Failure::Unusable`] when the list leads to another host or
    /// does not end.
    pub async fn tags(&self, repository: &str) -> Result<Vec<String>, Failure> {
        // Without `n`: some registries cut the list there, and do not say that there is more.
        let pages = self.0.pages(repository, "tags/list", "application/json").await?;
        let mut all = Vec::new();
        for (_, page) in pages {
            all.extend(self.0.read::<Tags>(&page)?.tags.unwrap_or_default());
        }
        Ok(all)
    }

    /// What refers to a manifest: by the API, or by the tag that takes its place where there is none.
    ///
    /// # Errors
    ///
    /// As for tags; no referrers are no error.
    pub async fn referrers(&self, repository: &str, subject: &Digest) -> Result<Vec<Descriptor>, Failure> {
        match self.0.pages(repository, &format!("referrers/{subject}"), INDEX).await {
            Ok(pages) if pages.iter().all(|(media_type, _)| media_type.starts_with(INDEX)) => self.0.indexes(pages),
            // Registries that do not know the API answer 404, some 400 or 405, or with their page for people.
            Ok(_) | Err(Failure::Absent | Failure::Unusable(_)) => {
                let tag = format!("manifests/{}", referrers_tag(subject));
                match self.0.pages(repository, &tag, INDEX).await {
                    Ok(pages) => self.0.indexes(pages),
                    Err(Failure::Absent) => Ok(Vec::new()),
                    Err(other) => Err(other),
                }
            }
            Err(other) => Err(other),
        }
    }
}

/// The tag that lists referrers in registries without the API (OCI distribution-spec, "Referrers Tag Schema").
pub fn referrers_tag(subject: &Digest) -> String {
    let encoded = subject.encoded();
    format!("{}-{}", subject.algorithm().name(), &encoded[..encoded.len().min(64)])
}

impl Inner {
    /// The pages of a list, with their media types.
    async fn pages(
        &self,
        repository: &str,
        first: &str,
        accept: &'static str,
    ) -> Result<Vec<(String, bytes::Bytes)>, Failure> {
        let mut request = self.request(Method::GET, repository, first, "pull")?;
        request.headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
        self.pages_of(request).await
    }

    /// The pages of a list that begins with the answer to this request.
    pub(super) async fn pages_of(&self, mut request: Outgoing) -> Result<Vec<(String, bytes::Bytes)>, Failure> {
        let (mut pages, mut left) = (Vec::new(), LIST_BYTES);
        loop {
            let arrived = self.exchange(&request).await?;
            if arrived.response.status() != 200 {
                return Err(self.failed(arrived).await);
            }
            let next = self.next_page(&arrived)?;
            let answer = self.answer(arrived, None)?;
            let media_type = answer.content_type.unwrap_or_default();
            let page = answer.body.collect_within(PAGE_BYTES.min(left)).await?;
            left -= page.len();
            pages.push((media_type, page));
            match next {
                None => return Ok(pages),
                Some(next) if next != request.url && pages.len() < PAGES => request.url = next,
                Some(_) => return Err(Failure::Unusable(format!("{} has a list without an end", self.host()))),
            }
        }
    }

    /// Where the next page is (RFC 8288), if there is one: at the same registry, or nowhere.
    fn next_page(&self, arrived: &Arrived) -> Result<Option<Url>, Failure> {
        let unreadable = || Failure::Unusable(format!("{} has a list with a Link that cannot be read", self.host()));
        let mut target = None;
        for field in arrived.response.headers().get_all(LINK) {
            let found = field.to_str().ok().and_then(|field| next_of(field).ok()).ok_or_else(unreadable)?;
            target = target.or(found);
        }
        let Some(target) = target else { return Ok(None) };
        let next = arrived.url.join(target).ok().filter(|next| next.origin() == self.url.origin());
        let foreign = || Failure::Unusable(format!("{} has a list that goes on at another host", self.host()));
        next.map(Some).ok_or_else(foreign)
    }

    fn indexes(&self, pages: Vec<(String, bytes::Bytes)>) -> Result<Vec<Descriptor>, Failure> {
        let mut all = Vec::new();
        for (_, page) in pages {
            all.extend(self.read::<Index>(&page)?.manifests.unwrap_or_default());
        }
        Ok(all)
    }

    pub(super) fn read<'a, T: Deserialize<'a>>(&self, bytes: &'a [u8]) -> Result<T, Failure> {
        let wrong =
            |error| Failure::Unusable(format!("{} answers with a list that cannot be read: {error}", self.host()));
        serde_json::from_slice(bytes).map_err(wrong)
    }
}

/// No links, but something else. To take it for the end of a list would make that shorter than it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NoLink;

/// The target of a `Link` whose relation is `next`, if there is one.
fn next_of(field: &str) -> Result<Option<&str>, NoLink> {
    // A comma may stand in a target, so links are told apart by what begins one.
    let mut rest = field.trim_start_matches([' ', '\t', ',']);
    if !(rest.is_empty() || rest.starts_with('<')) {
        return Err(NoLink);
    }
    while let Some((_, link)) = rest.split_once('<') {
        let (target, parameters) = link.split_once('>').ok_or(NoLink)?;
        let end = parameters.find('<').unwrap_or(parameters.len());
        let next = parameters[..end].split([';', ',']).any(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or_default();
            let value = value.trim().trim_matches('"');
            name.trim().eq_ignore_ascii_case("rel") && value.split(' ').any(|rel| rel.eq_ignore_ascii_case("next"))
        });
        if next {
            return Ok(Some(target));
        }
        rest = &parameters[end..];
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_the_next_page_is_found() {
        for (field, expected) in [
            ("</v2/a/tags/list?n=1&last=b>; rel=\"next\"", Ok(Some("/v2/a/tags/list?n=1&last=b"))),
            ("<a,b>;rel=next", Ok(Some("a,b"))),
            ("<a>; rel=prev, <b>; title=\"x\"; REL=\"last next\"", Ok(Some("b"))),
            (", <a>; rel=next", Ok(Some("a"))),
            ("<a>; rel=\"prev\"", Ok(None)),
            ("<a>", Ok(None)),
            ("", Ok(None)),
            ("<a", Err(NoLink)),
            ("<a>; rel=prev, <b", Err(NoLink)),
            ("/v2/a/tags/list?last=b; rel=\"next\"", Err(NoLink)),
        ] {
            assert_eq!(next_of(field), expected, "{field}");
        }
    }
}
