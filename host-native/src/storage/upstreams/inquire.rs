//! Asking an upstream something small, once for all who ask the same at the same time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use hyper::header::LINK;
use orlop_core::http::Method;
use orlop_core::mirror::{Answer, Unmet, Wanted};

use super::{Upstream, unmet};
use crate::remote::Get;
use crate::storage::counters::UpstreamCounters;

/// A question, and the most bytes of its answer.
type Question = (Wanted, u64);

type Answering = BoxFuture<'static, Result<Answer, Unmet>>;

/// The questions that an upstream is being asked. One that nobody waits for any more is given up.
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
        let question = (wanted.clone(), limit);
        let (upstream, counters) = (self.clone(), counters.clone());
        let answering = self
            .inquiries
            .join(question, || async move { upstream.inquire_now(&wanted, limit, &counters).await }.boxed());
        answering.await
    }

    async fn inquire_now(&self, wanted: &Wanted, limit: u64, counters: &UpstreamCounters) -> Result<Answer, Unmet> {
        let head = wanted.method == Method::Head;
        let asked = Get {
            repository: wanted.repository.as_str(),
            resource: &wanted.resource,
            head,
            accept: &wanted.accept,
            via: Some(&wanted.via),
            ..Get::default()
        };
        let answer = self.ask(asked, counters).await.map_err(unmet)?;
        let link = answer.headers.get(LINK).and_then(|link| link.to_str().ok());
        let next = link.and_then(|link| next_page(link, &self.remote.host(), wanted.repository.as_str()));
        let body = match head {
            true => bytes::Bytes::new(),
            false => {
                let limit = usize::try_from(limit).unwrap_or(usize::MAX);
                answer.body.collect_within(limit).await.map_err(unmet)?
            }
        };
        Ok(Answer { media_type: answer.content_type, digest: answer.digest, length: answer.length, next, body })
    }
}

/// What of a repository has the next page, by `Link` (RFC 8288): of the same host, or without one.
fn next_page(link: &str, host: &str, repository: &str) -> Option<String> {
    let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    if !parameters.replace('"', "").contains("rel=next") {
        return None;
    }
    let path = match target.split_once("://") {
        Some((_, rest)) => rest.strip_prefix(host)?,
        None => target,
    };
    path.strip_prefix("/v2/")?.strip_prefix(repository)?.strip_prefix('/').map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_one_of_the_same_repository() {
        let check = |link: &str, expected: Option<&str>| {
            assert_eq!(next_page(link, "registry.example.com", "team/app").as_deref(), expected, "{link}");
        };
        check(r#"</v2/team/app/referrers/x?last=y>; rel="next""#, Some("referrers/x?last=y"));
        check("<https://registry.example.com/v2/team/app/referrers/x>; rel=next", Some("referrers/x"));
        check(r#"<https://evil.example.com/v2/team/app/referrers/x>; rel="next""#, None);
        check(r#"<https://registry.example.com.evil/v2/team/app/referrers/x>; rel="next""#, None);
        check(r#"</v2/team/other/referrers/x>; rel="next""#, None);
        check(r#"</v2/team/app/referrers/x>; rel="prev""#, None);
        check("referrers/x", None);
    }
}
