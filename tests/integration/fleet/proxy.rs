//! A way to a server that can be cut on the side of the client alone: the server learns nothing of it, and goes on with
//! what it was told.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

pub(crate) struct Proxy {
    pub(crate) port: u16,
    cut: Arc<Notify>,
}

impl Proxy {
    /// A way to a port of this machine.
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let cut = Arc::new(Notify::new());
        let cutting = cut.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, port, cutting.clone()));
            }
        });
        Self { port: address.port(), cut }
    }

    /// Cuts all connections that there are.
    pub(crate) fn cut(&self) {
        self.cut.notify_waiters();
    }
}

async fn pass(client: TcpStream, port: u16, cut: Arc<Notify>) {
    let _ = client.set_nodelay(true);
    let Ok(server) = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await else { return };
    let _ = server.set_nodelay(true);
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (mut told, mut buffer) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        tokio::select! {
            () = cut.notified() => {
                drop((from_client, to_client));
                // The server's side stays open both ways, and what it sends goes nowhere.
                while let Ok(1..) = from_server.read(&mut buffer).await {}
                return;
            }
            read = from_client.read(&mut told) => match read {
                Ok(read @ 1..) if to_server.write_all(&told[..read]).await.is_ok() => {}
                _ => return,
            },
            read = from_server.read(&mut buffer) => match read {
                Ok(read @ 1..) if to_client.write_all(&buffer[..read]).await.is_ok() => {}
                _ => return,
            },
        }
    }
}
