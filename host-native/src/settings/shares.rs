//! What each client may take.

use std::net::IpAddr;

use clap::Args;
use ipnet::IpNet;

use crate::request::shares::{LimitSetting, QuotaSetting};

/// What each client may take. All of it can be changed while the server runs.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "What each client may take")]
pub struct Shares {
    /// A limit, as a table of TOML; every limit that speaks of a client holds (repeatable)
    ///
    /// { who = ["anonymous"], requests = 10, rate = 50, upload = "1GiB" }: requests at once, requests a second, and
    /// the largest blob, for each user; for each address with each = "address", as for everybody who is not known.
    #[arg(long = "limit", env = "ORLOP_LIMIT", value_name = "TABLE", value_delimiter = '\n')]
    pub limit: Vec<LimitSetting>,

    /// How much each of some repositories may hold: { repositories = ["team/**"], bytes = "10GiB" } (repeatable)
    ///
    /// Blobs and manifests count. What is pushed at the same moment is not seen, so it may be passed by that much.
    #[arg(long = "quota", env = "ORLOP_QUOTA", value_name = "TABLE", value_delimiter = '\n')]
    pub quota: Vec<QuotaSetting>,

    /// Change nothing: pushes and deletes get 405
    #[arg(
        long,
        env = "ORLOP_READ_ONLY",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        default_value_t = false,
        action = clap::ArgAction::Set
    )]
    pub read_only: bool,

    /// Proxies whose word is taken for where a request comes from (X-Forwarded-For, X-Request-Id) (repeatable)
    #[arg(long, env = "ORLOP_TRUSTED_PROXY", value_name = "ADDRESS", value_delimiter = ',', value_parser = network)]
    pub trusted_proxy: Vec<IpNet>,
}

fn network(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
    let network = text.parse().ok().or_else(address);
    network.ok_or_else(|| "it is no address and no network, such as 10.0.0.7 or 10.0.0.0/8".into())
}
