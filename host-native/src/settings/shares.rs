//! What each client may take.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::str::FromStr;

use bytesize::ByteSize;
use clap::Args;
use ipnet::IpNet;
use orlop_core::config::{Pattern, Quota};
use serde::Deserialize;

use super::{Who, table};

/// What each client may take. All of it can be changed while the server runs.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "What each client may take")]
pub struct Shares {
    /// A limit, as a table of TOML; every limit that speaks of a client holds (repeatable)
    ///
    /// { who = ["anonymous"], requests = 32, rate = 50, upload = "1GiB" }: requests at once, requests a second, and
    /// the largest blob, for each user; for each address with each = "address", as for everybody who is not known.
    /// A request too many waits for up to five seconds before it gets 429.
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

    /// Proxies whose word is taken for where a request comes from and went to (repeatable)
    ///
    /// X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host, X-Forwarded-Prefix, X-Request-Id, traceparent.
    #[arg(long, env = "ORLOP_TRUSTED_PROXY", value_name = "ADDRESS", value_delimiter = ',', value_parser = network)]
    pub trusted_proxy: Vec<IpNet>,
}

fn network(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
    let network = text.parse().ok().or_else(address);
    network.ok_or_else(|| "it is no address and no network, such as 10.0.0.7 or 10.0.0.0/8".into())
}

/// A limit as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LimitSetting {
    pub(crate) who: Vec<Who>,
    #[serde(default)]
    pub(crate) each: Each,
    pub(crate) requests: Option<usize>,
    pub(crate) rate: Option<NonZeroU32>,
    pub(crate) upload: Option<ByteSize>,
}

/// Who has a share of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Each {
    #[default]
    User,
    Address,
}

/// A quota as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct QuotaSetting {
    repositories: Vec<String>,
    bytes: ByteSize,
}

impl FromStr for LimitSetting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let limit: Self = table(text)?;
        if limit.requests.is_none() && limit.rate.is_none() && limit.upload.is_none() {
            return Err("a limit needs `requests`, `rate` or `upload`".into());
        }
        Ok(limit)
    }
}

impl FromStr for QuotaSetting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        table(text)
    }
}

impl QuotaSetting {
    /// The quota as the core takes it.
    pub(crate) fn quota(&self) -> Quota {
        Quota { repositories: self.repositories.iter().map(Pattern::new).collect(), bytes: self.bytes.as_u64() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_limits_nothing_is_refused() {
        assert!("{ who = ['anybody'] }".parse::<LimitSetting>().is_err());
        assert!("{ who = ['anybody'], rate = 0 }".parse::<LimitSetting>().is_err());
    }
}
