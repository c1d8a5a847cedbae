//! Who is at the other end of a connection.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::storage::Outbox;

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// Where it is.
    pub(crate) address: SocketAddr,
    /// The names in its certificate, if it showed one.
    pub(crate) certificate: Arc<[String]>,
    /// Where the connection takes files to send, if it can do that.
    pub(crate) outbox: Option<Outbox>,
}

impl Peer {
    /// Nobody: a request that came by no connection.
    #[cfg(test)]
    pub(crate) fn nobody() -> Self {
        Self::plain(([127, 0, 0, 1], 0).into())
    }

    /// A peer of which nothing is known.
    pub(crate) fn plain(address: SocketAddr) -> Self {
        Self { address, certificate: Arc::new([]), outbox: None }
    }
}
