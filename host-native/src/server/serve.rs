//! The server: accepts connections, serves HTTP on them, and stops without cutting off what runs.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use orlop_core::Registry;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::crowd::{Client, Crowd, Slot};
use crate::observe::Observer;
use crate::request::answer::Service;
use crate::request::live::{Current, Live};
use crate::request::peer::Peer;
use crate::request::presence::Presences;
use crate::server::connection::Connection;
use crate::server::http::Connections;
use crate::server::page::Page;
use crate::server::site::Site;
use crate::server::tls::{self, Tls};
use crate::settings::Limits;
use crate::storage::Host;

/// How long to wait when no connection can be accepted, for want of file descriptors mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long calls may take to end once their connections are gone.
const LAST_CALLS: Duration = Duration::from_secs(10);

/// How often a connection that has become idle is looked for while there is no room for another.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How long a connection that is closed for another may take to end.
const CLOSING: Duration = Duration::from_secs(1);

/// How many connections of one address wait for that.
const CLIENT_QUEUE: usize = 16;

/// What a client is told that speaks HTTP where HTTPS is spoken.
const PLAIN_TEXT: &str = "The client sent an HTTP request to an HTTPS server: use https:// for this address.\n";

/// A place where clients come in.
pub struct Door {
    /// Where they connect.
    pub listener: TcpListener,
    /// What they are encrypted with; plain HTTP without.
    pub tls: Option<Tls>,
    /// The prefix of the mirror whose repositories are at the root there; none for all repositories.
    pub root: Option<Arc<str>>,
}

/// Serves the registry to anybody on one plain listener until `stop` comes true, then lets running requests end.
pub async fn serve(
    listener: TcpListener,
    registry: Registry,
    host: Arc<Host>,
    limits: &Limits,
    stop: impl Future<Output = ()>,
) {
    let doors = vec![Door { listener, tls: None, root: None }];
    let observer = Arc::new(Observer::new(&host, None));
    let service = Service::new(host, Current::new(Live::open(registry)), observer, limits);
    serve_doors(doors, &[], service, limits, stop).await;
}

/// Serves the registry at these doors, by settings that may change, until `stop` comes true. Beside it, the `pages`:
/// whatever none of them is at is the registry's to answer.
pub(crate) async fn serve_doors(
    doors: Vec<Door>,
    pages: &[&'static Page],
    service: Service,
    limits: &Limits,
    stop: impl Future<Output = ()>,
) {
    let service = Arc::new(service);
    let (current, observer) = (service.current.clone(), service.observer.clone());
    let (calls, flights) = (service.calls.clone(), service.host.clone());
    let (pulls, stop_noting) = (service.pulls.clone(), CancellationToken::new());
    let noting = {
        let (pulls, current, host, stop) = (pulls.clone(), current.clone(), flights.clone(), stop_noting.clone());
        tokio::spawn(async move { pulls.note_regularly(current, host, stop).await })
    };
    let server = Arc::new(Server {
        current: current.clone(),
        clients: Crowd::new(limits.client_connections, CLIENT_QUEUE),
        presences: Presences::new(),
        connections: Connections::new(Site::new(service, pages), limits, observer),
        room: Arc::new(Semaphore::new(limits.connections)),
        handshake: limits.head_timeout,
    });
    let accepting: Vec<_> = doors.into_iter().map(|door| tokio::spawn(accept(server.clone(), door))).collect();
    stop.await;
    flights.end_unfollowed();
    server.connections.leave(limits.shutdown_delay).await;
    // No connection is accepted from here on.
    for accepting in accepting {
        accepting.abort();
        let _ = accepting.await;
    }
    server.connections.close(limits.shutdown_grace).await;
    calls.close();
    if timeout(LAST_CALLS, async { tokio::join!(calls.wait(), flights.land()) }).await.is_err() {
        tracing::warn!(calls = calls.len(), "calls that do not end are given up");
    }
    stop_noting.cancel();
    pulls.note_last(&current, &flights, noting).await;
}

struct Server {
    current: Current,
    connections: Connections,
    /// The connections of each address.
    clients: Crowd,
    /// All of them.
    presences: Presences,
    /// One permit for each connection.
    room: Arc<Semaphore>,
    /// How long a client may take to agree on encryption.
    handshake: Duration,
}

impl Server {
    /// Room for one more connection. When there is none, the one that has been idle for longest is closed.
    async fn room(&self) -> Option<OwnedSemaphorePermit> {
        loop {
            if let Ok(permit) = self.room.clone().try_acquire_owned() {
                return Some(permit);
            }
            self.presences.close_idle(None);
            // A connection ends, or becomes idle.
            if let Ok(permit) = timeout(LOOK_AGAIN, self.room.clone().acquire_owned()).await {
                return permit.ok();
            }
        }
    }

    /// Lets one more connection of an address in; `Some(None)` for a proxy, which may have any number. When the address
    /// has all it may have, the one that has been idle for longest is closed.
    async fn enter(&self, address: IpAddr) -> Option<Option<Slot>> {
        if self.current.get().proxies.trusts(address) {
            return Some(None);
        }
        let client = Client::at(address);
        match self.clients.enter(&client) {
            Some(slot) => Some(Some(slot)),
            None if self.presences.close_idle(Some(&client)) => {
                self.clients.enter_within(&client, 1, CLOSING).await.map(Some)
            }
            None => None,
        }
    }

    /// Serves one connection until it ends or is closed for another.
    async fn serve(&self, stream: TcpStream, peer: Peer, acceptor: Option<TlsAcceptor>) {
        let address = peer.address;
        let Some(_slot) = self.enter(address.ip()).await else {
            return tracing::debug!("{address} has too many connections");
        };
        let presence = self.presences.enter(address.ip());
        let peer = Peer { activity: Some(presence.activity()), ..peer };
        tokio::select! {
            () = serve_one(self, stream, peer, acceptor) => {}
            () = presence.close().cancelled_owned() => tracing::debug!("{address} was idle for longest, and is closed"),
        }
    }
}

/// Accepts connections at a door, for ever.
async fn accept(server: Arc<Server>, door: Door) {
    let Door { listener, tls, root } = door;
    if let Some(tls) = &tls {
        tls.watch();
    }
    let port = listener.local_addr().map_or(0, |address| address.port());
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                let Some(permit) = server.room().await else { return };
                // What a client does, also while it agrees on encryption, holds up nobody else.
                let acceptor = tls.as_ref().map(Tls::acceptor);
                let server = server.clone();
                let peer = Peer { port, root: root.clone(), ..Peer::plain(address) };
                tokio::spawn(async move {
                    server.serve(stream, peer, acceptor).await;
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
async fn serve_one(server: &Server, stream: TcpStream, peer: Peer, acceptor: Option<TlsAcceptor>) {
    // Answers are written whole, so waiting for more to send would only delay them.
    let _ = stream.set_nodelay(true);
    let Some(acceptor) = acceptor else {
        let connection = server.connections.patient(stream);
        let peer = Peer { outbox: Some(connection.outbox()), ..peer };
        return server.connections.serve(connection, peer, false).await;
    };
    let agreed = async {
        if speaks_plain_text(&stream).await? {
            return refuse_plain_text(server.connections.patient(stream)).await.map(|()| None);
        }
        acceptor.accept(server.connections.patient(stream)).await.map(Some)
    };
    let encrypted = match timeout(server.handshake, agreed).await {
        Ok(Ok(Some(encrypted))) => encrypted,
        Ok(Ok(None)) => return tracing::debug!("{} speaks HTTP where HTTPS is spoken", peer.address),
        Ok(Err(error)) => return tracing::debug!("no encryption with {}: {error}", peer.address),
        Err(_) => return tracing::debug!("no encryption with {}: it takes too long", peer.address),
    };
    let (_, session) = encrypted.get_ref();
    let certificate = session.peer_certificates().and_then(|chain| chain.first()).map(tls::names);
    let http2 = session.alpn_protocol() == Some(b"h2");
    let peer = Peer { encrypted: true, certificate: certificate.unwrap_or_default().into(), ..peer };
    server.connections.serve(encrypted, peer, http2).await;
}

/// Whether a client begins with a method of HTTP instead of a handshake, whose first byte is none of a text.
async fn speaks_plain_text(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    Ok(stream.peek(&mut first).await? == 1 && first[0].is_ascii_alphabetic())
}

/// Says what is wrong, where a client without encryption can read it.
async fn refuse_plain_text(mut connection: Connection) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        PLAIN_TEXT.len()
    );
    connection.write_all(&[head.as_bytes(), PLAIN_TEXT.as_bytes()].concat()).await?;
    connection.shutdown().await
}
