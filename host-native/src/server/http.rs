//! HTTP/1.1 and HTTP/2 on connections, plain or encrypted.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::{HeaderValue, header};
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::observe::Observer;
use crate::request::peer::Peer;
use crate::server::connection::Connection;
use crate::server::site::Site;
use crate::settings::Limits;

/// How much of a connection is buffered in each direction. Larger buffers make large bodies faster and cost memory
/// for each connection that is busy.
const BUFFER: usize = 128 << 10;

/// How many requests one HTTP/2 connection may have open. Clients push and pull some layers at a time.
const STREAMS: u32 = 64;

/// How much of a body an HTTP/2 client may send before it is taken, for a stream and for a connection, in bytes. It is
/// what one connection can make us hold.
const WINDOW: (u32, u32) = (512 << 10, 1 << 20);

/// A connection, among those that are open.
struct Counted<'o>(&'o Observer);

impl<'o> Counted<'o> {
    fn new(observer: &'o Observer) -> Self {
        observer.metrics.connections.inc();
        Self(observer)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.metrics.connections.dec();
    }
}

/// The connections of a server.
pub(crate) struct Connections {
    site: Site,
    observer: Arc<Observer>,
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    body_idle: Duration,
    /// Gone once the server stops.
    running: Mutex<Option<GracefulShutdown>>,
    /// Whether each answer says that no more requests are wanted on its connection.
    leaving: Arc<AtomicBool>,
    cut: CancellationToken,
}

impl Connections {
    pub(crate) fn new(site: Site, limits: &Limits, observer: Arc<Observer>) -> Self {
        let mut http1 = http1::Builder::new();
        http1
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head_timeout)
            .max_header_size(limits.head)
            .max_buf_size(BUFFER.max(limits.head));
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .initial_stream_window_size(WINDOW.0)
            .initial_connection_window_size(WINDOW.1)
            .max_header_list_size(u32::try_from(limits.head).unwrap_or(u32::MAX))
            .max_send_buf_size(BUFFER)
            // A client that is gone without a word does not answer.
            .keep_alive_interval(limits.head_timeout)
            .keep_alive_timeout(limits.head_timeout);
        let (running, cut) = (Mutex::new(Some(GracefulShutdown::new())), CancellationToken::new());
        Self { site, observer, http1, http2, body_idle: limits.body_idle, running, leaving: Arc::default(), cut }
    }

    /// A connection that gives up on a client that takes nothing.
    pub(crate) fn patient(&self, stream: TcpStream) -> Connection {
        Connection::new(stream, self.body_idle)
    }

    /// Serves one connection to its end.
    pub(crate) async fn serve<C>(&self, connection: C, peer: Peer, http2: bool)
    where
        C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let _counted = Counted::new(&self.observer);
        let (site, address, leaving) = (self.site.clone(), peer.address, self.leaving.clone());
        let service = hyper::service::service_fn(move |request| {
            let (answered, leaving) = (site.clone().answer(request, peer.clone()), leaving.clone());
            async move {
                let mut answer = answered.await?;
                // HTTP/2 has GOAWAY for it, which is sent when the connection is closed, and loses no request.
                if !http2 && leaving.load(Ordering::Relaxed) {
                    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(answer)
            }
        });
        let connection = TokioIo::new(connection);
        let serving = async {
            let running = self.running.lock().await;
            let Some(watcher) = running.as_ref() else { return Ok(()) };
            if http2 {
                let watched = watcher.watch(self.http2.serve_connection(connection, service));
                drop(running);
                watched.await
            } else {
                let watched = watcher.watch(self.http1.serve_connection(connection, service));
                drop(running);
                watched.await
            }
        };
        tokio::select! {
            served = serving => {
                if let Err(error) = served {
                    tracing::debug!("connection of {address}: {error}");
                }
            }
            () = self.cut.cancelled() => {}
        }
    }

    /// Goes on for `delay` while those who balance load find out that the server is about to stop. Clients that keep
    /// their connections are told with each answer to come again by another one.
    pub(crate) async fn leave(&self, delay: Duration) {
        if delay.is_zero() {
            return;
        }
        tracing::info!("told to stop: going on for {delay:?}, for load balancers to see that it is not ready");
        self.leaving.store(true, Ordering::Relaxed);
        sleep(delay).await;
    }

    /// Lets running requests end, for `grace` at most, and then cuts them off.
    pub(crate) async fn close(&self, grace: Duration) {
        let Some(running) = self.running.lock().await.take() else { return };
        tracing::info!(connections = running.count(), "stopping");
        if timeout(grace, running.shutdown()).await.is_err() {
            tracing::warn!("requests still running after {grace:?} are cut off");
        }
        // An upload that is cut off keeps what has arrived: its call sees the end of the body and commits.
        self.cut.cancel();
    }
}
