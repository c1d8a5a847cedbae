//! Asking an upstream something small, once for all who ask the same at the same time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use hyper::HeaderMap;
use hyper::header::LINK;
use orlop_core::http::Method;
use orlop_core::mirror::{Answer, As, Source, Unmet, Wanted};
use tokio::time::timeout;
use url::Url;

use super::{Upstream, blob, login, unmet};
use crate::remote::Get;
use crate::storage::counters::UpstreamCounters;

/// How long an answer may take, with all that has to be asked for it elsewhere: clients wait no longer for what is here
/// already.
const PATIENCE: Duration = Duration::from_secs(10);

/// The same for an upstream that has failed the last time.
const LITTLE_PATIENCE: Duration = Duration::from_secs(3);

/// A question, and the most bytes of its answer.
type Question = (Wanted, u64);

type Answering = BoxFuture<'static, Result<Answer, Unmet>>;

/// The questions that an upstream is being asked. One that no call waits for any more is given up.
#[derive(Default)]
pub(super) struct Inquiries(Mutex<HashMap<Question, WeakShared<Answering>>>);

impl Inquiries {
    /// The answer to a question: that which others wait for, or the one that `ask` comes to.
    fn join(&self, question: Question, ask: impl FnOnce() -> Answering) -> Shared<Answering> {
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        asked.retain(|_, answering| answering.upgrade().is_some());
        if let Some(answering) = asked.get(&question).and_then(WeakShared::upgrade) {
            return answering;
        }
        let answering = ask().shared();
        asked.extend(answering.downgrade().map(|weak| (question, weak)));
        answering
    }
}

impl Upstream {
    /// What it answers, of `limit` bytes at most.
    pub(in crate::storage) async fn inquire(
        self: &Arc<Self>,
        wanted: Wanted,
        limit: u64,
        counters: &UpstreamCounters,
    ) -> Result<Answer, Unmet> {
        // Whether a caller may see something is asked with a limit, though by HEAD; where a tag is now, with none.
        let remembers = wanted.login == As::Mirror || limit > 0;
        if let Some(said) = self.remembered.get(&wanted).filter(|_| remembers) {
            return said;
        }
        let question = (wanted.clone(), limit);
        let (upstream, counters) = (self.clone(), counters.clone());
        let answering = self.inquiries.join(question, || {
            async move {
                let answer = upstream.inquire_now(&wanted, limit, &counters).await;
                if remembers {
                    upstream.remembered.add(&wanted, &answer);
                }
                answer
            }
            .boxed()
        });
        answering.await
    }

    /// Whether it has a blob for such a request, as far as it says.
    pub(in crate::storage) async fn has(self: &Arc<Self>, source: Source, counters: &UpstreamCounters) -> bool {
        let answered = self.inquire(blob(Method::Head, &source), 0, counters).await;
        !answered.is_err_and(|unmet| unmet.is_absence())
    }

    async fn inquire_now(&self, wanted: &Wanted, limit: u64, counters: &UpstreamCounters) -> Result<Answer, Unmet> {
        let patience = if self.is_failing() { LITTLE_PATIENCE } else { PATIENCE };
        let head = wanted.method == Method::Head;
        let asked = Get {
            repository: wanted.repository.as_str(),
            resource: &wanted.resource,
            head,
            accept: &wanted.accept,
            via: Some(&wanted.via),
            login: login(&wanted.login),
            ..Get::default()
        };
        let answer = self.ask(asked, patience, counters).await.map_err(unmet)?;
        let next = self.next(wanted, &answer.headers);
        let body = match head {
            true => Bytes::new(),
            false => {
                let limit = usize::try_from(limit).unwrap_or(usize::MAX);
                match timeout(patience, answer.body.collect_within(limit)).await {
                    Ok(body) => body.map_err(unmet)?,
                    Err(_) => return Err(Unmet::Failed(self.late(patience))),
                }
            }
        };
        Ok(Answer { media_type: answer.content_type, digest: answer.digest, length: answer.length, next, body })
    }

    /// The resource with the next page of a list, if `Link` names one of the same repository (RFC 8288).
    fn next(&self, wanted: &Wanted, headers: &HeaderMap) -> Option<String> {
        let links = headers.get_all(LINK).into_iter().filter_map(|field| field.to_str().ok());
        let mut links = links.flat_map(|field| field.split(','));
        let is_next = |parameters: &str| parameters.split(';').any(|p| matches!(p.trim(), "rel=\"next\"" | "rel=next"));
        let to = links.find_map(|link| {
            let (to, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
            is_next(parameters).then_some(to)
        })?;
        let (own, below) = (&self.setting.url, format!("/v2/{}/", wanted.repository));
        let from: Url = own.join(&format!("{below}{}", wanted.resource)).ok()?;
        let to = from.join(to).ok().filter(|to| to.origin() == own.origin())?;
        let resource = to.path().strip_prefix(&below)?;
        Some(to.query().map_or_else(|| resource.to_owned(), |query| format!("{resource}?{query}")))
    }
}

#[cfg(test)]
mod tests {
    use orlop_core::mirror::{As, UpstreamName};

    use super::*;
    use crate::settings::RemoteSetting;

    #[test]
    fn the_next_page_is_one_of_the_same_repository_of_the_same_host() {
        let setting = RemoteSetting::new("https://registry.example.com").unwrap();
        let upstream = Upstream::open(UpstreamName::new("registry"), setting).unwrap();
        let wanted = Wanted {
            upstream: UpstreamName::new("registry"),
            method: Method::Get,
            repository: "library/app".parse().unwrap(),
            resource: "referrers/sha256:a?n=1".into(),
            accept: Vec::new(),
            login: As::Mirror,
            via: String::new(),
        };
        let check = |link: &str, expected: Option<&str>| {
            let headers = [(LINK, link.parse().unwrap())].into_iter().collect();
            assert_eq!(upstream.next(&wanted, &headers).as_deref(), expected, "{link}");
        };
        let page = Some("referrers/sha256:a?last=b");
        check("</v2/library/app/referrers/sha256:a?last=b>; rel=\"next\"", page);
        check("<https://registry.example.com/v2/library/app/referrers/sha256:a?last=b>; rel=next", page);
        check("</x>; rel=\"up\", <?last=b>; title=\"t\"; rel=\"next\"", page);
        check("<https://other.example.com/v2/library/app/referrers/sha256:a?last=b>; rel=\"next\"", None);
        check("</v2/library/other/referrers/sha256:a?last=b>; rel=\"next\"", None);
        check("</v2/library/app/../other/referrers/sha256:a>; rel=\"next\"", None);
        check("</v2/library/app/referrers/sha256:a?last=b>", None);
    }
}
