//! Asking an upstream something small, once for all who ask the same at the same time.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use hyper::HeaderMap;
use hyper::header::LINK;
use orlop_core::http::Method;
use orlop_core::mirror::{Answer, As, Source, Unmet, Wanted};
use tokio::sync::{AcquireError, OwnedSemaphorePermit};
use tokio::time::timeout;
use url::Url;

use super::{ANSWERS_OF_ONE, Upstream, blob, login, unmet};
use crate::remote::Get;
use crate::storage::body::UNIT;
use crate::storage::counters::UpstreamCounters;

/// How long an answer may take, with all that has to be asked for it elsewhere: clients wait no longer for what is here
/// already.
const PATIENCE: Duration = Duration::from_secs(10);

/// The same for an upstream that has failed the last time.
const LITTLE_PATIENCE: Duration = Duration::from_secs(3);

/// A question, and the most bytes of its answer.
type Question = (Wanted, u64);

/// What an answer takes of the memory for answers, until no call has it any more.
pub(in crate::storage) type Taken = Arc<Memory>;

type Answering = BoxFuture<'static, Result<(Answer, Option<Taken>), Unmet>>;

/// Memory for an answer: of what its upstream may have, and of what all may have.
#[derive(Debug)]
pub(in crate::storage) struct Memory([OwnedSemaphorePermit; 2]);

impl Memory {
    /// Gives back all but what so many bytes need.
    fn shrink_to(&mut self, bytes: usize) {
        for permit in &mut self.0 {
            drop(permit.split(permit.num_permits().saturating_sub(bytes.div_ceil(UNIT))));
        }
    }
}

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
    /// What it answers, of `limit` bytes at most, and the memory that is taken for it.
    pub(in crate::storage) async fn inquire(
        self: &Arc<Self>,
        wanted: Wanted,
        limit: u64,
        counters: &UpstreamCounters,
    ) -> Result<(Answer, Option<Taken>), Unmet> {
        // Whether a caller may see something is asked with a limit, though by HEAD; where a tag is now, with none.
        let remembers = wanted.login == As::Mirror || limit > 0;
        if let Some(said) = self.remembered.get(&wanted).filter(|_| remembers) {
            return said.map(|answer| (answer, None));
        }
        let question = (wanted.clone(), limit);
        let (upstream, counters) = (self.clone(), counters.clone());
        let answering = self.inquiries.join(question, || {
            async move {
                let answered = upstream.inquire_now(&wanted, limit, &counters).await;
                if remembers {
                    let answer = answered.as_ref().map(|(answer, _)| answer);
                    upstream.remembered.add(&wanted, answer);
                }
                answered
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

    async fn inquire_now(
        &self,
        wanted: &Wanted,
        limit: u64,
        counters: &UpstreamCounters,
    ) -> Result<(Answer, Option<Taken>), Unmet> {
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
        let (body, taken) = match head {
            true => (Bytes::new(), None),
            false => {
                let mut taken = self.take(answer.length.map_or(limit, |length| length.min(limit))).await?;
                let limit = usize::try_from(limit).unwrap_or(usize::MAX);
                let body = match timeout(patience, answer.body.collect_within(limit)).await {
                    Ok(body) => body.map_err(unmet)?,
                    Err(_) => return Err(Unmet::Failed(self.late(patience))),
                };
                // What did not say how long it is may be much shorter than it might have been.
                taken.shrink_to(body.len());
                (body, Some(Arc::new(taken)))
            }
        };
        Ok((
            Answer { media_type: answer.content_type, digest: answer.digest, length: answer.length, next, body },
            taken,
        ))
    }

    /// Takes memory for so many bytes of an answer, or waits for it as long as for the answer.
    async fn take(&self, bytes: u64) -> Result<Memory, Unmet> {
        let units = usize::try_from(bytes).unwrap_or(usize::MAX).min(ANSWERS_OF_ONE).div_ceil(UNIT);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let taking = async {
            // What waits for its own upstream takes nothing of the others.
            let own = self.own_room.clone().acquire_many_owned(units).await?;
            Ok::<_, AcquireError>(Memory([own, self.room.clone().acquire_many_owned(units).await?]))
        };
        let taken = timeout(PATIENCE, taking).await.ok().and_then(Result::ok);
        if !self.crowded.swap(taken.is_none(), Ordering::Relaxed) && taken.is_none() {
            let upstream = self.name.as_str();
            tracing::warn!(upstream, bytes, "there is no memory for answers of an upstream: clients are told to wait");
        }
        // It is this registry that is busy: soon it is not.
        taken.ok_or(Unmet::Paused(Duration::from_secs(1)))
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
    use futures_util::StreamExt;
    use futures_util::stream::FuturesUnordered;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::sync::Semaphore;

    use crate::settings::RemoteSetting;
    use crate::storage::upstreams::Upstreams;

    #[test]
    fn the_next_page_is_one_of_the_same_repository_of_the_same_host() {
        let setting = RemoteSetting::new("https://registry.example.com").unwrap();
        let upstream = Upstream::open(UpstreamName::new("registry"), setting, &Upstreams::default().room).unwrap();
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
    /// A registry that answers everything with 1 KiB, or a little less of unknown length.
    async fn answering(length: bool) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let _ = stream.read(&mut [0; 4096]).await;
                    let length = if length { "Content-Length: 1024\r\n" } else { "" };
                    let head = format!("HTTP/1.1 200 OK\r\n{length}Connection: close\r\n\r\n");
                    let body = vec![b'x'; if length.is_empty() { 1000 } else { 1024 }];
                    let _ = stream.write_all(&[head.as_bytes(), &body].concat()).await;
                });
            }
        });
        url
    }

    #[tokio::test]
    async fn answers_wait_until_those_before_them_have_given_memory_back() {
        const ROOM: usize = 4;
        for says_length in [true, false] {
            let setting = RemoteSetting::new(&answering(says_length).await).unwrap();
            let room = Arc::new(Semaphore::new(ROOM));
            let upstream = Arc::new(Upstream::open(UpstreamName::new("registry"), setting, &room).unwrap());
            let counters = UpstreamCounters::default();
            let ask = |number: usize| {
                let wanted = manifest_of(&upstream, number);
                let (upstream, counters) = (upstream.clone(), counters.clone());
                // Without its length, an answer may need all there is, and gives back what it does not need.
                async move { upstream.inquire(wanted, (ROOM * UNIT) as u64, &counters).await }
            };
            let mut asking: FuturesUnordered<_> = (0..ROOM + 2).map(ask).collect();
            let mut held = Vec::new();
            let most = if says_length { ROOM } else { 1 };
            for _ in 0..most {
                held.push(asking.next().await.unwrap().unwrap());
            }
            assert!(timeout(Duration::from_millis(300), asking.next()).await.is_err(), "there is no room for more");
            let taken = held.iter().filter_map(|(_, taken)| taken.as_ref()).map(|taken| taken.0[1].num_permits());
            assert_eq!(taken.sum::<usize>(), most, "each has what it needs, and no more");
            held.clear();
            for _ in most..ROOM + 2 {
                drop(asking.next().await.unwrap().unwrap());
            }
            assert_eq!(room.available_permits(), ROOM);
        }
    }

    /// What is asked of an upstream: a manifest by one of many tags.
    fn manifest_of(upstream: &Upstream, number: usize) -> Wanted {
        Wanted {
            upstream: upstream.name.clone(),
            method: Method::Get,
            repository: "app".parse().unwrap(),
            resource: format!("manifests/v{number}"),
            accept: Vec::new(),
            login: As::Mirror,
            via: String::new(),
        }
    }

    /// A registry whose answers begin and do not end.
    async fn unending() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let mut open = Vec::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nx").await;
                open.push(stream);
            }
        });
        url
    }

    #[tokio::test]
    async fn a_slow_upstream_leaves_memory_for_answers_of_others() {
        const LIMIT: u64 = 4 << 20;
        let room = Upstreams::default().room;
        let open = |name: &str, url: &str| {
            let setting = RemoteSetting::new(url).unwrap();
            Arc::new(Upstream::open(UpstreamName::new(name), setting, &room).unwrap())
        };
        let (slow, other) = (open("slow", &unending().await), open("other", &answering(true).await));
        let counters = UpstreamCounters::default();
        let ask = |upstream: &Arc<Upstream>, number: usize| {
            let wanted = manifest_of(upstream, number);
            let (upstream, counters) = (upstream.clone(), counters.clone());
            async move { upstream.inquire(wanted, LIMIT, &counters).await }
        };
        let mut asking: FuturesUnordered<_> = (0..20).map(|number| ask(&slow, number)).collect();
        assert!(timeout(Duration::from_secs(1), asking.next()).await.is_err(), "none has come to its end");
        assert_eq!(slow.own_room.available_permits(), 0);
        let answered = timeout(Duration::from_secs(2), ask(&other, 0)).await;
        assert!(matches!(answered, Ok(Ok(_))), "{answered:?}");
    }
}
