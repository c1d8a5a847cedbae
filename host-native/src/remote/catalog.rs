//! The repositories of a registry (distribution's HTTP API V2, "Listing Repositories"), and tags deleted there.

use hyper::header::{ACCEPT, HeaderMap, HeaderValue};
use hyper::{Method, StatusCode};
use serde::Deserialize;

use super::exchange::Outgoing;
use super::failure::Failure;
use super::retry::retried;
use super::{Inner, Remote};

/// How many names a page is asked for.
const PAGE: usize = 1000;

#[derive(Deserialize)]
struct Catalog {
    /// `null` where there are none, in registries written in Go.
    repositories: Option<Vec<String>>,
}

impl Remote {
    /// The names of all repositories that the login may list.
    ///
    /// # Errors
    ///
    /// [`Failure::Absent`] or [`Failure::Denied`] when the registry lists none to this login: many do not.
    pub async fn repositories(&self) -> Result<Vec<String>, Failure> {
        let pages = retried(|| self.0.pages_of(self.0.catalog())).await?;
        let mut all = Vec::new();
        for (_, page) in pages {
            all.extend(self.0.read::<Catalog>(&page)?.repositories.unwrap_or_default());
        }
        Ok(all)
    }

    /// Deletes a tag. One that is gone already is no failure.
    ///
    /// # Errors
    ///
    /// When the registry does not delete it: many refuse to.
    pub async fn delete_tag(&self, repository: &str, tag: &str) -> Result<(), Failure> {
        let request = self.0.request(Method::DELETE, repository, &format!("manifests/{tag}"), "delete")?;
        let arrived = retried(|| self.0.exchange(&request)).await?;
        match arrived.response.status() {
            StatusCode::ACCEPTED | StatusCode::OK | StatusCode::NO_CONTENT | StatusCode::NOT_FOUND => Ok(()),
            _ => Err(self.0.failed(arrived).await),
        }
    }
}

impl Inner {
    fn catalog(&self) -> Outgoing {
        let mut url = self.url.clone();
        url.set_path("/v2/_catalog");
        url.set_query(Some(&format!("n={PAGE}")));
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]);
        let scopes = vec!["registry:catalog:*".to_owned()];
        Outgoing { method: Method::GET, url, headers, body: Default::default(), scopes, login: None, seen: None }
    }
}
