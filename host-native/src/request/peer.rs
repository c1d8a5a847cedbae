//! Who is at the other end of a connection.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::request::presence::{Activity, Busy};
use crate::storage::Outbox;

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// Where it is.
    pub(crate) address: SocketAddr,
    /// At which port of ours.
    pub(crate) port: u16,
    /// The prefix of the mirror that is at the root there, if one is.
    pub(crate) root: Option<Arc<str>>,
    /// Whether it speaks TLS.
    pub(crate) encrypted: bool,
    /// The names in its certificate, if it showed one.
    pub(crate) certificate: Arc<[String]>,
    /// Where the connection takes files to send, if it can do that.
    pub(crate) outbox: Option<Outbox>,
    /// What tells of its requests.
    pub(crate) activity: Option<Activity>,
}

impl Peer {
    /// Nobody: a request that came by no connection.
    #[cfg(test)]
    pub(crate) fn nobody() -> Self {
        Self::plain(([127, 0, 0, 1], 0).into())
    }

    /// Says that a request of it is being answered, until what this returns is dropped.
    pub(crate) fn begin(&self) -> Option<Busy> {
        self.activity.as_ref().map(Activity::begin)
    }

    /// A peer of which nothing is known.
    pub(crate) fn plain(address: SocketAddr) -> Self {
        Self { address, port: 0, root: None, encrypted: false, certificate: Arc::new([]), outbox: None, activity: None }
    }
}
