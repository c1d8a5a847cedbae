//! What one client, and all of them together, may take of the host. [`Default`] is what most want.

use std::time::Duration;

/// The limits of the server. Each is a flag of `orlop serve`.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The longest head of a request, in bytes.
    pub head: usize,
    /// How long a client may take for the head of a request, and rest between two requests.
    pub head_timeout: Duration,
    /// How long a body may rest, in either direction, before the connection is given up.
    pub body_idle: Duration,
    /// How many requests are worked on at once. One more waits a second, and then gets 429.
    pub requests: usize,
    /// How many of these one address may have whose users are not known. One more waits a while.
    pub client_requests: usize,
    /// How many connections are open at once. For one more, the one that has been idle for longest is closed.
    pub connections: usize,
    /// How many connections one address has open at once. For one more, an idle one is closed.
    pub client_connections: usize,
    /// How long the server goes on as before once it is told to stop, while it says that it is not ready.
    pub shutdown_delay: Duration,
    /// How long running requests may take to end after that.
    pub shutdown_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: 32 << 10,
            head_timeout: Duration::from_secs(30),
            body_idle: Duration::from_secs(60),
            requests: 512,
            client_requests: 128,
            connections: 4096,
            client_connections: 512,
            shutdown_delay: Duration::ZERO,
            shutdown_grace: Duration::from_secs(30),
        }
    }
}
