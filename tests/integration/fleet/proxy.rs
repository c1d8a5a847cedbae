//! A way to a server that can be cut on the side of the client alone: the server learns nothing of it, and goes on with
//! what it was told.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

pub(crate) struct Proxy {
    pub(crate) port: u16,
    cut: Arc<Notify>,
    limit: Arc<Mutex<Limit>>,
}

/// In which direction bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    ToServer,
    ToClient,
}

/// After how many bytes in one direction a connection is cut, once for each limit, one after the other.
#[derive(Default)]
struct Limit {
    left: VecDeque<(Direction, usize)>,
    /// How many bytes went in each direction since limits were set, or since the last cut.
    passed: [usize; 2],
}

impl Limit {
    /// How many of these bytes are passed on, and whether the connection is cut then.
    fn pass(&mut self, direction: Direction, bytes: usize) -> (usize, bool) {
        let (passed, cut) = match self.left.front_mut() {
            Some((limited, left)) if *limited == direction => {
                let passed = bytes.min(*left);
                *left -= passed;
                (passed, *left == 0)
            }
            _ => (bytes, false),
        };
        self.passed[direction as usize] += passed;
        if cut {
            self.left.pop_front();
            self.passed = [0; 2];
        }
        (passed, cut)
    }
}

impl Proxy {
    /// A way to a port of this machine.
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let cut = Arc::new(Notify::new());
        let (cutting, limit) = (cut.clone(), Arc::new(Mutex::new(Limit::default())));
        let limiting = limit.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, port, cutting.clone(), limiting.clone()));
            }
        });
        Self { port: address.port(), cut, limit }
    }

    /// Cuts the connection on both sides on which a number of bytes, from now on, has gone in one direction; then the same
    /// with the next of these. Returns how many bytes went in each direction since the last cut, or since this was called
    /// before.
    pub(crate) fn cut_after(&self, limits: impl IntoIterator<Item = (Direction, usize)>) -> [usize; 2] {
        let mut now = self.limit.lock().expect("no test panicked in it");
        std::mem::replace(&mut *now, Limit { left: limits.into_iter().collect(), passed: [0; 2] }).passed
    }

    /// Whether all cuts that were asked for have happened.
    pub(crate) fn has_cut(&self) -> bool {
        self.limit.lock().expect("no test panicked in it").left.is_empty()
    }

    /// Cuts all connections that there are.
    pub(crate) fn cut(&self) {
        self.cut.notify_waiters();
    }
}

async fn pass(client: TcpStream, port: u16, cut: Arc<Notify>, limit: Arc<Mutex<Limit>>) {
    let _ = client.set_nodelay(true);
    let Ok(server) = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await else { return };
    let _ = server.set_nodelay(true);
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let limited = |direction, read| limit.lock().expect("no test panicked in it").pass(direction, read);
    let (mut told, mut buffer) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        tokio::select! {
            () = cut.notified() => {
                drop((from_client, to_client));
                // The server's side stays open both ways, and what it sends goes nowhere.
                while let Ok(1..) = from_server.read(&mut buffer).await {}
                return;
            }
            read = from_client.read(&mut told) => {
                let Ok(read @ 1..) = read else { return };
                let (passed, last) = limited(Direction::ToServer, read);
                if to_server.write_all(&told[..passed]).await.is_err() || last {
                    return;
                }
            }
            read = from_server.read(&mut buffer) => {
                let Ok(read @ 1..) = read else { return };
                let (passed, last) = limited(Direction::ToClient, read);
                if to_client.write_all(&buffer[..passed]).await.is_err() || last {
                    return;
                }
            }
        }
    }
}
