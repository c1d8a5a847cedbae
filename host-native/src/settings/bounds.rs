//! What clients may take of the machine.

use std::time::Duration;

use bytesize::ByteSize;
use clap::Args;

use super::Limits;
use super::number::{count, size, time};

/// What all clients together may take of the server.
#[derive(Debug, Args)]
#[command(next_help_heading = "Connections and requests")]
pub struct Bounds {
    /// The longest head of a request
    #[arg(long, env = "ORLOP_HEAD_LIMIT", default_value = "32KiB", value_name = "SIZE", value_parser = size)]
    head_limit: ByteSize,

    /// How long a client may take to send the head of a request, and wait between requests
    #[arg(long, env = "ORLOP_HEAD_TIMEOUT", default_value = "30s", value_name = "TIME", value_parser = time)]
    head_timeout: Duration,

    /// How long a body may stand still, in either direction, before the connection is closed; at most 1h
    #[arg(long, env = "ORLOP_BODY_IDLE_TIMEOUT", default_value = "60s", value_name = "TIME", value_parser = idle_time)]
    body_idle_timeout: Duration,

    /// How many requests to serve at once; a further one waits a second, and then gets 429
    #[arg(long, env = "ORLOP_MAX_REQUESTS", default_value = "512", value_name = "NUMBER", value_parser = count)]
    max_requests: u32,

    /// How many requests without a login to serve at once for one address; a quarter of all if not set
    ///
    /// A further one waits some seconds, and then gets 429. A user may have half of all, or less by a `limit`. Trusted
    /// proxies are exempt.
    #[arg(long, env = "ORLOP_MAX_CLIENT_REQUESTS", value_name = "NUMBER", value_parser = count)]
    max_client_requests: Option<u32>,

    /// How many connections to have open at once; for a further one, the one that is idle for longest is closed
    ///
    /// Fewer where the system allows less than three open files for each.
    #[arg(long, env = "ORLOP_MAX_CONNECTIONS", default_value = "4096", value_name = "NUMBER", value_parser = count)]
    max_connections: u32,

    /// How many connections one address may have open at once; for a further one, an idle one is closed. Trusted
    /// proxies are exempt
    #[arg(
        long,
        env = "ORLOP_MAX_CLIENT_CONNECTIONS",
        default_value = "512",
        value_name = "NUMBER",
        value_parser = count
    )]
    max_client_connections: u32,

    /// How long to go on serving after the signal to stop (SIGTERM, SIGINT), with 503 at /readyz already
    ///
    /// Behind a load balancer that has other servers: longer than the balancer takes to see it. A second signal ends
    /// the server at once.
    #[arg(long, env = "ORLOP_SHUTDOWN_DELAY", default_value = "0s", value_name = "TIME", value_parser = time)]
    shutdown_delay: Duration,

    /// How long running requests may take to finish when the server is stopped (SIGTERM, SIGINT)
    #[arg(long, env = "ORLOP_SHUTDOWN_GRACE", default_value = "30s", value_name = "TIME", value_parser = time)]
    shutdown_grace: Duration,
}

/// Garbage collection takes what has not been written to for a day as abandoned; a body must stand still for much less.
fn idle_time(text: &str) -> Result<Duration, String> {
    let longest = Duration::from_secs(3600);
    time(text).and_then(|time| if time <= longest { Ok(time) } else { Err("it may be 1h at most".into()) })
}

impl Bounds {
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            head: self.head_limit.as_u64().clamp(1 << 10, 1 << 20) as usize,
            head_timeout: self.head_timeout,
            body_idle: self.body_idle_timeout,
            requests: self.max_requests.max(1) as usize,
            client_requests: self.max_client_requests.unwrap_or(self.max_requests / 4).max(1) as usize,
            connections: self.max_connections.max(1) as usize,
            client_connections: self.max_client_connections.max(1) as usize,
            shutdown_delay: self.shutdown_delay,
            shutdown_grace: self.shutdown_grace,
        }
    }
}
