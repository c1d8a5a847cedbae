//! The server: accepts connections, serves HTTP on them, and stops without cutting off what runs.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use orlop_core::Registry;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::observe::Observer;
use crate::request::answer::{FINISHING, Service};
use crate::request::crowd::{Crowd, Slot, network_of};
use crate::request::live::{Current, Live};
use crate::request::peer::Peer;
use crate::server::http::Connections;
use crate::server::playground::File;
use crate::server::site::Site;
use crate::server::tls::{self, Tls};
use crate::settings::Limits;
use crate::storage::Host;

/// How long to wait when no connection can be accepted, for want of file descriptors mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long calls may take to end once their connections are gone.
const LAST_CALLS: Duration = Duration::from_secs(10);

/// A place where clients come in.
pub struct Door {
    /// Where they connect.
    pub listener: TcpListener,
    /// What they are encrypted with; plain HTTP without.
    pub tls: Option<Tls>,
}

/// Serves the registry to anybody on one plain listener until `stop` comes true, then lets running requests end.
pub async fn serve(
    listener: TcpListener,
    registry: Registry,
    host: Arc<Host>,
    limits: &Limits,
    stop: impl Future<Output = ()>,
) {
    let doors = vec![Door { listener, tls: None }];
    let observer = Arc::new(Observer::new(&host, None));
    serve_doors(doors, &[], host, limits, Current::new(Live::open(registry)), observer, stop).await;
}

/// Serves the registry at these doors, by settings that may change, until `stop` comes true. Beside it, the `files`:
/// whatever none of them is at is the registry's to answer.
pub async fn serve_doors(
    doors: Vec<Door>,
    files: &'static [File],
    host: Arc<Host>,
    limits: &Limits,
    current: Current,
    observer: Arc<Observer>,
    stop: impl Future<Output = ()>,
) {
    let calls = TaskTracker::new();
    let service = Arc::new(Service {
        host,
        current: current.clone(),
        observer: observer.clone(),
        room: Arc::new(Semaphore::new(limits.requests)),
        body_idle: limits.body_idle,
        calls: calls.clone(),
        finishing: Arc::new(Semaphore::new(FINISHING)),
    });
    let server = Arc::new(Server {
        current,
        clients: Crowd::default(),
        most_of_one: limits.client_connections,
        connections: Connections::new(Site::new(service, files), limits, observer),
        room: Arc::new(Semaphore::new(limits.connections)),
        handshake: limits.head_timeout,
    });
    let accepting: Vec<_> = doors.into_iter().map(|door| tokio::spawn(accept(server.clone(), door))).collect();
    stop.await;
    // Nobody can connect any more from here on.
    for accepting in accepting {
        accepting.abort();
        let _ = accepting.await;
    }
    server.connections.close(limits.shutdown_grace).await;
    calls.close();
    if timeout(LAST_CALLS, calls.wait()).await.is_err() {
        tracing::warn!(calls = calls.len(), "calls that do not end are given up");
    }
}

struct Server {
    current: Current,
    connections: Connections,
    /// The connections of each address, and how many it may have.
    clients: Crowd,
    most_of_one: usize,
    /// One permit for each connection.
    room: Arc<Semaphore>,
    /// How long a client may take to agree on encryption.
    handshake: Duration,
}

impl Server {
    /// Lets one more connection of an address in.
    fn enter(&self, address: IpAddr) -> Option<Slot> {
        let most = if self.current.get().proxies.trusts(address) { usize::MAX } else { self.most_of_one };
        self.clients.enter(network_of(address).to_string(), most)
    }
}

/// Accepts connections at a door, for ever.
async fn accept(server: Arc<Server>, door: Door) {
    let Door { listener, tls } = door;
    if let Some(tls) = &tls {
        tls.watch();
    }
    loop {
        let Ok(permit) = server.room.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, address)) => {
                let Some(slot) = server.enter(address.ip()) else {
                    tracing::debug!("{address} has too many connections");
                    continue;
                };
                // What a client does, also while it agrees on encryption, holds up nobody else.
                let acceptor = tls.as_ref().map(Tls::acceptor);
                let server = server.clone();
                tokio::spawn(async move {
                    serve_one(&server, stream, Peer::plain(address), acceptor).await;
                    drop((permit, slot));
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
async fn serve_one(server: &Server, stream: TcpStream, peer: Peer, acceptor: Option<tokio_rustls::TlsAcceptor>) {
    // Answers are written whole, so waiting for more to send would only delay them.
    let _ = stream.set_nodelay(true);
    let connection = server.connections.patient(stream);
    let Some(acceptor) = acceptor else {
        let peer = Peer { outbox: Some(connection.outbox()), ..peer };
        return server.connections.serve(connection, peer, false).await;
    };
    let encrypted = match timeout(server.handshake, acceptor.accept(connection)).await {
        Ok(Ok(encrypted)) => encrypted,
        Ok(Err(error)) => return tracing::debug!("no encryption with {}: {error}", peer.address),
        Err(_) => return tracing::debug!("no encryption with {}: it takes too long", peer.address),
    };
    let (_, session) = encrypted.get_ref();
    let certificate = session.peer_certificates().and_then(|chain| chain.first()).map(tls::names);
    let http2 = session.alpn_protocol() == Some(b"h2");
    let peer = Peer { certificate: certificate.unwrap_or_default().into(), ..peer };
    server.connections.serve(encrypted, peer, http2).await;
}
