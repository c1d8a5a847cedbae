//! The server: accepts connections, serves HTTP/1.1 on them, and stops without cutting off what runs.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use orlop_core::Registry;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::answer::{Peer, Service, answer};
use crate::connection::Connection;
use crate::limits::Limits;
use crate::run::Host;

/// How much of a connection is buffered in each direction. Larger buffers make large bodies faster and cost memory
/// for each connection that is busy.
const BUFFER: usize = 128 << 10;

/// How long to wait when no connection can be accepted, for want of file descriptors mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long calls may take to end once their connections are gone.
const LAST_CALLS: Duration = Duration::from_secs(10);

/// Serves the registry until `stop` comes true, then lets running requests end.
pub async fn serve(
    listener: TcpListener,
    registry: Registry,
    host: Arc<Host>,
    limits: &Limits,
    stop: impl Future<Output = ()>,
) {
    let calls = TaskTracker::new();
    let service = Arc::new(Service {
        registry,
        host,
        room: Arc::new(Semaphore::new(limits.requests)),
        body_idle: limits.body_idle,
        calls: calls.clone(),
    });
    let server = Server {
        router: Router::new().fallback(answer).with_state(service),
        http: http(limits),
        body_idle: limits.body_idle,
        running: GracefulShutdown::new(),
        cut: CancellationToken::new(),
    };
    tokio::select! {
        () = server.accept(&listener, limits.connections) => {}
        () = stop => {}
    }
    // Nobody can connect any more from here on.
    drop(listener);
    let Server { running, cut, .. } = server;
    tracing::info!(connections = running.count(), "stopping");
    if timeout(limits.shutdown_grace, running.shutdown()).await.is_err() {
        tracing::warn!("requests still running after {:?} are cut off", limits.shutdown_grace);
    }
    // An upload that is cut off keeps what has arrived: its call sees the end of the body and commits.
    cut.cancel();
    calls.close();
    if timeout(LAST_CALLS, calls.wait()).await.is_err() {
        tracing::warn!(calls = calls.len(), "calls that do not end are given up");
    }
}

fn http(limits: &Limits) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_header_size(limits.head)
        .max_buf_size(BUFFER.max(limits.head));
    http
}

struct Server {
    router: Router,
    http: http1::Builder,
    body_idle: Duration,
    running: GracefulShutdown,
    cut: CancellationToken,
}

impl Server {
    /// Accepts connections, `most` at once, for ever.
    async fn accept(&self, listener: &TcpListener, most: usize) {
        let room = Arc::new(Semaphore::new(most));
        loop {
            let Ok(permit) = room.clone().acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let serving = self.connection(stream, Peer(peer));
                    tokio::spawn(async move {
                        serving.await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!("a connection cannot be accepted: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Serves one connection to its end.
    fn connection(&self, stream: TcpStream, peer: Peer) -> impl Future<Output = ()> + use<> {
        // Answers are written whole, so waiting for more to send would only delay them.
        let _ = stream.set_nodelay(true);
        let router = self.router.clone();
        let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(peer);
            hyper::service::Service::call(&TowerToHyperService::new(router.clone()), request)
        });
        let connection = TokioIo::new(Connection::new(stream, self.body_idle));
        let serving = self.running.watch(self.http.serve_connection(connection, service));
        let cut = self.cut.clone();
        async move {
            tokio::select! {
                served = serving => {
                    if let Err(error) = served {
                        tracing::debug!("connection of {}: {error}", peer.0);
                    }
                }
                () = cut.cancelled() => {}
            }
        }
    }
}
