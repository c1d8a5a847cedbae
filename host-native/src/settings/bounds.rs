//! What clients may take of the machine.

use std::time::Duration;

use bytesize::ByteSize;
use clap::Args;

use super::{Limits, time};

/// What clients may take of this machine.
#[derive(Debug, Args)]
#[command(next_help_heading = "What clients may take of this machine")]
pub struct Bounds {
    /// The longest head of a request
    #[arg(long, env = "ORLOP_HEAD_LIMIT", default_value = "32KiB", value_name = "SIZE")]
    head_limit: ByteSize,

    /// How long a client may take for the head of a request, and rest between requests
    #[arg(long, env = "ORLOP_HEAD_TIMEOUT", default_value = "30s", value_name = "TIME", value_parser = time)]
    head_timeout: Duration,

    /// How long no byte of a body may come, or go, before the client counts as gone; at most 1h
    #[arg(long, env = "ORLOP_BODY_IDLE_TIMEOUT", default_value = "60s", value_name = "TIME", value_parser = idle_time)]
    body_idle_timeout: Duration,

    /// How many requests to work on at once; one more waits a second, and then gets 429
    #[arg(long, env = "ORLOP_MAX_REQUESTS", default_value_t = 512, value_name = "NUMBER")]
    max_requests: u32,

    /// How many requests one address may have at once, of clients that are not known; a quarter of all if not set
    ///
    /// One more waits some seconds, and then gets 429. Users are bounded by `limit`. Trusted proxies may have all.
    #[arg(long, env = "ORLOP_MAX_CLIENT_REQUESTS", value_name = "NUMBER")]
    max_client_requests: Option<u32>,

    /// How many connections to have open at once; for one more, the one that is idle for longest is closed
    #[arg(long, env = "ORLOP_MAX_CONNECTIONS", default_value_t = 4096, value_name = "NUMBER")]
    max_connections: u32,

    /// How many connections one address may have open at once; for one more, an idle one is closed. Trusted
    /// proxies may have all
    #[arg(long, env = "ORLOP_MAX_CLIENT_CONNECTIONS", default_value_t = 512, value_name = "NUMBER")]
    max_client_connections: u32,

    /// How long running requests may take when the server is told to stop (SIGTERM, SIGINT)
    #[arg(long, env = "ORLOP_SHUTDOWN_GRACE", default_value = "30s", value_name = "TIME", value_parser = time)]
    shutdown_grace: Duration,
}

/// The sweep takes what has not been written to for a day for abandoned; a body may not rest nearly as long.
fn idle_time(text: &str) -> Result<Duration, String> {
    let longest = Duration::from_secs(3600);
    time(text).and_then(|time| if time <= longest { Ok(time) } else { Err("at most 1h".into()) })
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
            shutdown_grace: self.shutdown_grace,
        }
    }
}
