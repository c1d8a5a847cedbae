//! Streaming a blob of an upstream into an object, past the meter, and showing it to those who follow.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use orlop_core::Fault;
use orlop_core::effect::{BodyEnd, Fetch, Received};
use orlop_core::meter::Meter;
use orlop_core::mirror::{Source, Unmet, UpstreamName};
use orlop_core::object::ObjectId;
use tokio::time::{Instant, sleep, timeout_at};

use super::flight::{Flight, Shown};
use super::{Upstream, unmet};
use crate::remote::{Body, Failure, LEAST_RATE, Slice};
use crate::storage::counters::UpstreamCounters;
use crate::storage::disk::Opened;
use crate::storage::engine::{Sink, Storage, Window};
use crate::storage::receive::{Counted, Receiving, joined};

/// How long bytes wait to become a batch: whoever follows is that far behind, and the time that it takes to write one.
const GATHERING: Duration = Duration::from_millis(20);

/// How long to wait before a fetch goes on that broke off; twice as long each time that nothing came.
const PAUSE: Duration = Duration::from_millis(500);

/// How long to wait at most, also for an upstream that wants to be left alone: others would have to begin anew.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How many connections, one after the other, may bring hardly anything until the fetch is given up.
const CRAWLS: u32 = 3;

/// A fetch that broke off: the next one of the call goes on with it.
pub(in crate::storage) struct Begun {
    pub(in crate::storage) object: ObjectId,
    sink: Sink,
    window: Window,
    /// How many bytes have come: those that the sink has.
    there: u64,
    /// How many bytes the blob has, as the upstream has said first: what those who follow were told.
    size: Option<u64>,
    pace: Pace,
}

/// How an upstream has done of late in the fetch of a blob.
struct Pace {
    upstream: UpstreamName,
    /// How often nothing has come, one time after the other.
    failures: u32,
    /// How many connections have brought hardly anything, one after the other.
    crawls: u32,
}

impl Pace {
    fn new(upstream: &Upstream) -> Self {
        Self { upstream: upstream.name.clone(), failures: 0, crawls: 0 }
    }

    fn pause(&self) -> Duration {
        PAUSE.saturating_mul(1 << self.failures.min(10)).min(LONGEST_PAUSE)
    }
}

/// What a fetch needs of its host.
#[derive(Clone, Copy)]
pub(in crate::storage) struct Fetcher<'h> {
    pub(in crate::storage) storage: &'h Storage,
    pub(in crate::storage) receiving: &'h Receiving,
    pub(in crate::storage) counters: &'h UpstreamCounters,
    /// Those who follow.
    pub(in crate::storage) flight: Option<&'h Flight>,
}

impl Fetcher<'_> {
    /// Streams a blob past the meter into its object. When the connection breaks, what has come stays in `begun`.
    pub(in crate::storage) async fn fetch(
        self,
        upstream: &Upstream,
        effect: Fetch,
        begun: &mut Option<Begun>,
    ) -> Result<Result<Received, Unmet>, Fault> {
        let _counted = Counted::new(self.receiving);
        let began = Instant::now();
        let Fetch { source, object, mut meter, keep } = effect;
        let from = meter.count();
        let received = |meter, end, kept| Ok(Ok(Received { meter, end, kept, took: began.elapsed() }));
        let mut going_on = begun.take().filter(|begun| begun.object == object && begun.there == from);
        if from > 0 && going_on.is_none() {
            // What has come is gone: the rest of a blob is none.
            return received(Meter::new(meter.algorithm()), BodyEnd::Cut, None);
        }
        let mut pace = Pace::new(upstream);
        if let Some(going_on) = going_on.as_mut().filter(|going_on| going_on.pace.upstream == upstream.name) {
            std::mem::swap(&mut pace, &mut going_on.pace);
            if pace.crawls < CRAWLS {
                sleep(pace.pause()).await;
            }
        }
        if pace.crawls >= CRAWLS {
            // Another upstream may go on with it.
            *begun = going_on;
            let (name, digest) = (upstream.name.as_str(), source.digest);
            return Ok(Err(Unmet::Failed(format!("{name} sends {digest} with less than {LEAST_RATE} bytes a second"))));
        }
        if let Some(flight) = self.flight {
            flight.asks(&source);
        }
        let mut coming = match Coming::open(upstream, &source, from, self.counters).await {
            Ok(coming) => coming,
            Err(failure) => {
                let Some(going_on) = going_on else { return Ok(Err(unmet(failure))) };
                if !may_pass(&failure) {
                    // Another upstream may go on with it.
                    *begun = Some(going_on);
                    return Ok(Err(unmet(failure)));
                }
                if let Failure::Paused(left) = failure {
                    sleep(left).await;
                }
                pace.failures += 1;
                *begun = Some(Begun { pace, ..going_on });
                return received(meter, BodyEnd::Cut, None);
            }
        };
        if let Some(first) = going_on.as_ref().and_then(|going_on| going_on.size)
            && coming.size.is_some_and(|size| size != first)
        {
            *begun = going_on;
            let name = upstream.name.as_str();
            return Ok(Err(Unmet::Failed(format!("{name} gives {} another length than before", source.digest))));
        }
        coming.size = coming.size.or(going_on.as_ref().and_then(|going_on| going_on.size));
        let opened = Instant::now();
        let rest = coming.size.map(|size| size.saturating_sub(from));
        if rest.is_some_and(|rest| rest > meter.room()) {
            return received(meter, BodyEnd::TooLarge, None);
        }
        let keep = if from == 0 && going_on.is_none() { keep as u64 } else { 0 };
        let (mut batch, mut end) = (Vec::new(), None);
        // What is known to be small is not shown; what is not known to be large may be.
        while end.is_none() && meter.count() <= keep && coming.size.is_none_or(|size| size <= keep) && keep > 0 {
            let more;
            (more, end) = coming.gather(&mut meter, self.receiving.share(), self.counters).await;
            batch.extend(more);
        }
        if end == Some(BodyEnd::Whole) && meter.count() <= keep {
            let kept = Some(joined(batch)).filter(|bytes| !bytes.is_empty());
            return received(meter, BodyEnd::Whole, kept);
        }
        let (mut sink, mut window) = match going_on {
            Some(going_on) => (going_on.sink, going_on.window),
            None => {
                self.storage.has_room(coming.size.unwrap_or_default()).await?;
                (self.storage.sink(&object, coming.size), self.storage.window(&object))
            }
        };
        let size = coming.size;
        loop {
            let (seen, whole) = (meter.count(), end.is_none_or(|end| end == BodyEnd::Whole));
            let right = whole && meter.digest() == source.digest;
            let write = async {
                write(&mut sink, &mut window, std::mem::take(&mut batch)).await?;
                // At once: it may be long until more comes.
                self.show(&mut window, size, seen, right).await;
                Ok::<(), Fault>(())
            };
            let Some(ended) = end else {
                let gather = coming.gather(&mut meter, self.receiving.share(), self.counters);
                let (written, next) = tokio::join!(write, gather);
                written?;
                (batch, end) = next;
                continue;
            };
            write.await?;
            if ended == BodyEnd::Cut {
                pace.failures = if seen > from { 0 } else { pace.failures + 1 };
                let crawls = seen - from < LEAST_RATE * opened.elapsed().as_secs();
                pace.crawls = if crawls { pace.crawls + 1 } else { 0 };
                *begun = Some(Begun { object, sink, window, there: seen, size, pace });
            } else {
                sink.seal(Vec::new()).await?;
            }
            return received(meter, ended, None);
        }
    }

    /// Shows what has been written to those who follow: all but the last byte, until that is known to be `right`.
    async fn show(&self, window: &mut Window, size: Option<u64>, seen: u64, right: bool) {
        let (Some(flight), Some(size)) = (self.flight, size) else { return };
        let there = if right && seen == size { size } else { seen.min(size.saturating_sub(1)) };
        if there == 0 {
            return;
        }
        let opened: Option<Arc<Opened>> = window.opened().await;
        if let Some(file) = opened {
            flight.show(Shown { file, size, there });
        }
    }
}

/// Writes a batch to where it is kept and to where it is read meanwhile.
async fn write(sink: &mut Sink, window: &mut Window, batch: Vec<Bytes>) -> Result<(), Fault> {
    if batch.is_empty() {
        return Ok(());
    }
    let (written, ()) = tokio::join!(sink.append(batch.clone()), window.append(batch));
    written
}

/// Whether it may help to ask again in a moment.
fn may_pass(failure: &Failure) -> bool {
    match failure {
        Failure::Unreachable(_) => true,
        Failure::Paused(left) => *left <= LONGEST_PAUSE,
        Failure::Absent
        | Failure::Denied(_)
        | Failure::LoginRefused(_)
        | Failure::Unusable(_)
        | Failure::Damaged(_) => false,
    }
}

/// A blob as it comes.
struct Coming {
    body: Body,
    /// How many bytes the blob has, if the upstream says so.
    size: Option<u64>,
    /// How many bytes come first that are there already.
    skip: u64,
}

impl Coming {
    /// Asks for the bytes of a blob behind the first `from`.
    async fn open(
        upstream: &Upstream,
        source: &Source,
        from: u64,
        counters: &UpstreamCounters,
    ) -> Result<Self, Failure> {
        let range = (from > 0).then_some(Slice { first: from, last: None });
        let answer = upstream.ask_for_blob(source, range, counters).await?;
        let (size, skip) = match answer.content_range {
            // The client has seen that it is from there.
            Some((_, last, size)) => (size.or(Some(last + 1)), 0),
            None => (answer.length, from),
        };
        Ok(Self { body: answer.body, size, skip })
    }

    /// The next bytes, `most` or a little more, past the meter, and how it ended if it did.
    async fn gather(
        &mut self,
        meter: &mut Meter,
        most: usize,
        counters: &UpstreamCounters,
    ) -> (Vec<Bytes>, Option<BodyEnd>) {
        let (mut batch, mut length) = (Vec::new(), 0);
        let mut due = None;
        while length < most {
            if self.size.is_some_and(|size| meter.count() >= size) {
                return (batch, Some(BodyEnd::Whole));
            }
            let came = match due {
                None => self.body.chunk().await,
                Some(due) => match timeout_at(due, self.body.chunk()).await {
                    Ok(came) => came,
                    Err(_) => break,
                },
            };
            let mut bytes = match came {
                Ok(Some(bytes)) => bytes,
                // The connection has ended in order before all has come that was announced.
                Ok(None) if self.size.is_some() || self.skip > 0 => return (batch, Some(BodyEnd::Cut)),
                Ok(None) => return (batch, Some(BodyEnd::Whole)),
                Err(_) => return (batch, Some(BodyEnd::Cut)),
            };
            counters.fetched.inc_by(bytes.len() as u64);
            let skipped = bytes.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
            self.skip -= skipped as u64;
            let _ = bytes.split_to(skipped);
            if bytes.is_empty() {
                continue;
            }
            let room = usize::try_from(meter.room()).unwrap_or(usize::MAX);
            let too_many = bytes.len() > room;
            bytes.truncate(room);
            meter.update(&bytes);
            length += bytes.len();
            batch.push(bytes);
            if too_many {
                return (batch, Some(BodyEnd::TooLarge));
            }
            due.get_or_insert_with(|| Instant::now() + GATHERING);
            // To hash some hundred KiB takes a while, in which others have something to do too.
            tokio::task::yield_now().await;
        }
        (batch, None)
    }
}

#[cfg(test)]
mod tests {
    use orlop_core::digest::Algorithm;
    use orlop_core::mirror::{As, UpstreamName};
    use tempfile::TempDir;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::task::JoinHandle;
    use uuid::Uuid;

    use super::*;
    use crate::settings::{Options, RemoteSetting};
    use crate::storage::upstreams::Upstreams;

    /// How many bytes the blob has that [`crawling`] sends.
    const SIZE: usize = 1_000_000;

    /// A registry that sends ten bytes a second of a blob: which bytes it was asked for.
    async fn crawling() -> (String, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move {
            let mut asked = Vec::new();
            for _ in 0..CRAWLS {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = vec![0; 4096];
                let length = stream.read(&mut head).await.unwrap();
                let head = String::from_utf8_lossy(&head[..length]).to_lowercase();
                let from = head.lines().find_map(|line| line.strip_prefix("range: bytes=")?.strip_suffix('-'));
                let first: usize = from.map_or(0, |from| from.parse().unwrap());
                let (last, rest) = (SIZE - 1, SIZE - first);
                let status = match from {
                    Some(_) => format!("206 Partial Content\r\nContent-Range: bytes {first}-{last}/{SIZE}"),
                    None => "200 OK".into(),
                };
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {rest}\r\n\r\n");
                stream.write_all(head.as_bytes()).await.unwrap();
                while stream.write_all(&[b'x'; 10]).await.is_ok() {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                asked.push(from.unwrap_or("all").to_owned());
            }
            asked
        });
        (url, serving)
    }

    #[tokio::test(start_paused = true)]
    async fn an_upstream_that_hardly_sends_anything_is_asked_for_the_rest_and_then_given_up() {
        let directory = TempDir::new().unwrap();
        let storage = Storage::open(directory.path(), &Options { keep_free: 0, ..Options::default() }).unwrap();
        let (url, serving) = crawling().await;
        let (name, setting) = (UpstreamName::new(&url), RemoteSetting::new(&url).unwrap());
        let upstreams = Upstreams::open([(name.clone(), setting)].into(), &Upstreams::default()).unwrap();
        let (receiving, counters) = (Receiving::default(), UpstreamCounters::default());
        let fetcher = Fetcher { storage: &storage, receiving: &receiving, counters: &counters, flight: None };
        let digest = Algorithm::Sha256.digest(b"something else");
        let source = Source {
            upstream: name.clone(),
            repository: "app".parse().unwrap(),
            digest,
            login: As::Mirror,
            via: "1.1 mirror".into(),
        };
        let object = ObjectId { nonce: Uuid::from_u128(1), index: 0 };
        let (mut meter, mut begun) = (Meter::new(digest.algorithm()), None);
        let began = Instant::now();
        let reason = loop {
            let fetch = Fetch { source: source.clone(), object, meter: meter.clone(), keep: 0 };
            match fetcher.fetch(upstreams.get(&name).unwrap(), fetch, &mut begun).await.unwrap() {
                Ok(received) => {
                    assert_eq!(received.end, BodyEnd::Cut);
                    assert!(received.meter.count() > meter.count(), "something came");
                    meter = received.meter;
                }
                Err(unmet) => break unmet,
            }
        };
        assert!(matches!(&reason, Unmet::Failed(told) if told.contains("less than 1024 bytes")), "{reason}");
        assert!(began.elapsed() < Duration::from_secs(120), "{:?}", began.elapsed());
        let asked = serving.await.unwrap();
        assert_eq!((asked.len(), asked[0].as_str()), (CRAWLS as usize, "all"));
        assert!(asked[1..].iter().all(|from| from.parse::<usize>().is_ok_and(|from| from > 0)), "{asked:?}");
    }
}
