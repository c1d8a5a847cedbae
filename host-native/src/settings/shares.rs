//! What each client may take.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::str::FromStr;

use bytesize::ByteSize;
use clap::Args;
use ipnet::IpNet;
use orlop_core::config::{Pattern, Quota};
use serde::Deserialize;

use super::number::optional_size_in_table;
use super::{Who, table};

/// Limits for each client. All of them can be changed while the server runs.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits for each client")]
pub struct Shares {
    /// A limit, as a table of TOML; a client is held to every limit that names it (repeatable)
    ///
    /// { who = ["anonymous"], requests = 32, rate = 50, upload = "1GiB" }: requests at once, requests a second, and
    /// the largest blob. Each user is counted by itself; each address with each = "address", and for clients that are
    /// not logged in. A request beyond the limit waits for up to five seconds, and then gets 429.
    #[arg(long = "limit", env = "ORLOP_LIMIT", value_name = "TABLE", value_delimiter = '\n')]
    pub limit: Vec<LimitSetting>,

    /// How much repositories may hold: { repositories = ["team/**"], bytes = "10GiB" } (repeatable)
    ///
    /// Each repository by itself or, with together = true, all of them together. Blobs, manifests and open uploads count.
    /// With soft = "8GiB", pushes beyond that are answered with a warning. name = "team" is what the quota is called in
    /// answers, metrics, webhooks and reports. Pushes that run at the same moment do not see each other, so the quota may
    /// be exceeded by that much.
    #[arg(long = "quota", env = "ORLOP_QUOTA", value_name = "TABLE", value_delimiter = '\n')]
    pub quota: Vec<QuotaSetting>,

    /// Refuse all pushes and deletes (405)
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

    /// Proxies whose header fields about the client and its request are believed: addresses or networks (repeatable)
    ///
    /// X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host, X-Forwarded-Prefix, X-Request-Id, traceparent.
    #[arg(long, env = "ORLOP_TRUSTED_PROXY", value_name = "ADDRESS", value_delimiter = ',', value_parser = network)]
    pub trusted_proxy: Vec<IpNet>,
}

fn network(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
    let network = text.parse().ok().or_else(address);
    network.ok_or_else(|| "write an address or a network, such as 10.0.0.7 or 10.0.0.0/8".into())
}

/// A limit as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LimitSetting {
    pub(crate) who: Vec<Who>,
    #[serde(default)]
    pub(crate) each: Each,
    pub(crate) requests: Option<usize>,
    pub(crate) rate: Option<NonZeroU32>,
    #[serde(default, deserialize_with = "optional_size_in_table")]
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
    #[serde(default)]
    pub(crate) name: String,
    repositories: Vec<String>,
    #[serde(default)]
    together: bool,
    #[serde(default, deserialize_with = "optional_size_in_table")]
    soft: Option<ByteSize>,
    #[serde(default, deserialize_with = "optional_size_in_table")]
    bytes: Option<ByteSize>,
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
        let quota: Self = table(text)?;
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if quota.name.len() > 32 || !quota.name.bytes().all(plain) {
            return Err("`name` has at most 32 lower-case letters, digits and dashes".into());
        }
        if quota.repositories.is_empty() {
            return Err("`repositories` is empty: name some, or write [\"**\"] for all".into());
        }
        if quota.repositories.iter().any(String::is_empty) {
            return Err("it has an empty pattern, which matches nothing: leave it out".into());
        }
        match (quota.soft, quota.bytes) {
            (None, None) => Err("a quota needs `bytes`, beyond which pushes are refused, or `soft`".into()),
            (Some(soft), Some(bytes)) if soft >= bytes => {
                let (soft, bytes) = (soft.as_u64(), bytes.as_u64());
                Err(format!("`soft` ({soft} bytes) warns of nothing: it has to be less than `bytes` ({bytes} bytes)"))
            }
            _ => Ok(quota),
        }
    }
}

impl QuotaSetting {
    /// The quota as the core takes it.
    pub(crate) fn quota(&self) -> Quota {
        let or_any = |size: Option<ByteSize>| size.map_or(u64::MAX, |size| size.as_u64());
        Quota {
            name: self.name.clone(),
            repositories: self.repositories.iter().map(Pattern::new).collect(),
            together: self.together,
            soft: or_any(self.soft),
            bytes: or_any(self.bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_in_a_table_is_a_number_or_text_with_a_unit() {
        let quota = |bytes: &str| format!("{{ repositories = ['a'], bytes = {bytes} }}").parse::<QuotaSetting>();
        assert_eq!(quota("1024").unwrap().bytes, Some(ByteSize::kib(1)));
        assert_eq!(quota("'1KiB'").unwrap().bytes, Some(ByteSize::kib(1)));
        for wrong in ["'50 gigs'", "-1", "true"] {
            let told = quota(wrong).unwrap_err();
            assert!(told.contains("such as"), "{told}");
        }
    }

    #[test]
    fn a_quota_bounds_or_warns_of_something() {
        let quota = |rest: &str| format!("{{ repositories = ['team/**'], {rest} }}").parse::<QuotaSetting>();
        let both = quota("name = 'team', together = true, soft = '8KiB', bytes = '10KiB'").unwrap().quota();
        assert_eq!((both.name.as_str(), both.together, both.soft, both.bytes), ("team", true, 8 << 10, 10 << 10));
        let soft = quota("soft = 1").unwrap().quota();
        assert_eq!((soft.together, soft.soft, soft.bytes), (false, 1, u64::MAX));
        for (wrong, reason) in [
            ("name = 'team'", "needs `bytes`"),
            ("soft = 10, bytes = 10", "less than `bytes`"),
            ("name = 'Team A', bytes = 1", "lower-case letters"),
        ] {
            let told = quota(wrong).unwrap_err();
            assert!(told.contains(reason), "{told}");
        }
        for (repositories, reason) in [("[]", "`repositories` is empty"), ("['a', '']", "an empty pattern")] {
            let told = format!("{{ repositories = {repositories}, bytes = 1 }}").parse::<QuotaSetting>().unwrap_err();
            assert!(told.contains(reason), "{told}");
        }
    }

    #[test]
    fn a_limit_that_limits_nothing_is_refused() {
        assert!("{ who = ['anybody'] }".parse::<LimitSetting>().is_err());
        assert!("{ who = ['anybody'], rate = 0 }".parse::<LimitSetting>().is_err());
    }
}
