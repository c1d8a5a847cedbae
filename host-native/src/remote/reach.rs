//! Which addresses are connected to. A registry that redirects to another host could otherwise have Orlop read from
//! the network that it stands in, such as the addresses at which clouds give out credentials.
//!
//! The check is made on the addresses that a connection is then made to, so that a name which resolves to another
//! address each time does not get around it.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use tower_service::Service;

/// What goes wrong on the way to a connection.
type Broken = Box<dyn Error + Send + Sync>;

/// Which addresses a registry may lead to.
#[derive(Debug)]
pub(super) struct Reach {
    /// Hosts that the operator named, each perhaps with the only port. They may have any address.
    named: Vec<(String, Option<u16>)>,
    /// Whether all hosts may have private addresses.
    private: bool,
    /// The setting in which an operator names hosts.
    setting: &'static str,
}

/// An address that is not connected to.
#[derive(Debug)]
pub(super) struct Forbidden {
    host: String,
    address: IpAddr,
    setting: &'static str,
}

impl Error for Forbidden {}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, address, setting } = self;
        write!(
            f,
            "it leads to {host}, which has the private address {address}: if that is right, add {host} to its {setting}"
        )
    }
}

impl Reach {
    /// To these hosts, each perhaps with the only port, and to others with public addresses, or with `private` ones too.
    pub(super) fn new<'a>(named: impl IntoIterator<Item = (&'a str, Option<u16>)>, private: bool) -> Self {
        let named = named.into_iter().map(|(host, port)| (plain(host), port)).collect();
        Self { named, private, setting: "redirects" }
    }

    /// The same, where that is the setting in which hosts are named.
    pub(super) fn called(self, setting: &'static str) -> Self {
        Self { setting, ..self }
    }

    /// Whether the operator named that host, so that it may have any address.
    fn names(&self, host: &str, port: Option<u16>) -> bool {
        let host = plain(host);
        self.named.iter().any(|(named, only)| *named == host && (only.is_none() || *only == port))
    }

    /// The addresses of a host that was not named, if they may be connected to.
    fn admitted(&self, host: &str, addresses: Vec<IpAddr>) -> Result<Vec<IpAddr>, Forbidden> {
        let may = |address: &IpAddr| is_public(*address) || (self.private && !is_link_local(*address));
        match addresses.iter().find(|address| !may(address)) {
            // One that is forbidden is enough: no public registry has both.
            Some(&address) => Err(Forbidden { host: plain(host), address, setting: self.setting }),
            None => Ok(addresses),
        }
    }
}

/// A host as it is compared: without brackets and the dot of the root.
pub(super) fn plain(host: &str) -> String {
    let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    host.trim_end_matches('.').to_ascii_lowercase()
}

/// Whether an address is one of the public internet (the IANA special-purpose address registries).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !matches!(
        address.octets(),
        // This host, private, loopback; multicast and reserved.
        [0 | 10 | 127 | 224..=255, ..]
            // Shared by the customers of a provider, link-local, private, protocol assignments.
            | [100, 64..=127, ..] | [169, 254, ..] | [172, 16..=31, ..] | [192, 168, ..] | [192, 0, 0, _]
            // Benchmarks, documentation.
            | [198, 18..=19, ..] | [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _]
    )
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(inner) = inner_v4(address) {
        return is_public_v4(inner);
    }
    match address.segments() {
        // Teredo and other protocol assignments, documentation.
        [0x2001, 0..=0x1ff | 0xdb8, ..] => false,
        // Global unicast is 2000::/3: outside of it are loopback, unique local, link-local and multicast.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

/// Of an address that stands for one of IPv4 (mapped, compatible, NAT64, 6to4), that one.
fn inner_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let of = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff | 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(of(high, low)),
        [0x2002, high, low, ..] => Some(of(high, low)),
        _ => None,
    }
}

/// Whether an address is link-local, where clouds have their metadata: no registry is there.
fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => match inner_v4(address) {
            Some(inner) => inner.is_link_local(),
            // The second is where one cloud has its metadata by IPv6.
            None => address.is_unicast_link_local() || address == Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
        },
    }
}

/// Resolves names to addresses that may be connected to.
#[derive(Clone)]
pub(super) struct Resolver {
    reach: Arc<Reach>,
    system: GaiResolver,
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Broken;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Broken>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let reach = self.reach.clone();
        let found = self.system.call(name.clone());
        Box::pin(async move {
            let addresses = found.await?.map(|address| address.ip()).collect();
            let admitted = reach.admitted(name.as_str(), addresses)?;
            Ok(admitted.into_iter().map(|address| SocketAddr::new(address, 0)).collect::<Vec<_>>().into_iter())
        })
    }
}

/// Connects to where a registry may lead.
#[derive(Clone)]
pub(super) struct Connector {
    reach: Arc<Reach>,
    /// To hosts that the operator named.
    named: HttpConnector,
    /// To all others.
    others: HttpConnector<Resolver>,
}

impl Connector {
    pub(super) fn new(reach: Reach, connecting: Duration) -> Self {
        let reach = Arc::new(reach);
        let resolver = Resolver { reach: reach.clone(), system: GaiResolver::new() };
        let (mut named, mut others) = (HttpConnector::new(), HttpConnector::new_with_resolver(resolver));
        named.set_nodelay(true);
        named.set_connect_timeout(Some(connecting));
        named.enforce_http(false);
        others.set_nodelay(true);
        others.set_connect_timeout(Some(connecting));
        others.enforce_http(false);
        Self { reach, named, others }
    }
}

impl Service<Uri> for Connector {
    type Response = <HttpConnector<Resolver> as Service<Uri>>::Response;
    type Error = Broken;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Broken>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        // Both connectors are always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let host = uri.host().unwrap_or_default();
        let usual = if uri.scheme_str() == Some("https") { 443 } else { 80 };
        if self.reach.names(host, Some(uri.port_u16().unwrap_or(usual))) {
            let connecting = self.named.call(uri);
            return Box::pin(async move { Ok(connecting.await?) });
        }
        // An address in the place of a name is not resolved.
        if let Ok(address) = plain(host).parse()
            && let Err(forbidden) = self.reach.admitted(host, vec![address])
        {
            return Box::pin(std::future::ready(Err(forbidden.into())));
        }
        let connecting = self.others.call(uri);
        Box::pin(async move { Ok(connecting.await?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_and_private_addresses_are_told_apart() {
        for public in ["1.1.1.1", "100.128.0.1", "172.32.0.1", "192.1.0.1", "2606:4700::1", "::ffff:8.8.8.8"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for private in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.0.8",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "ff02::1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
    }

    fn admits(reach: &Reach, host: &str, port: u16, address: &str) -> bool {
        reach.names(host, Some(port)) || reach.admitted(host, vec![address.parse().unwrap()]).is_ok()
    }

    #[test]
    fn a_registry_leads_to_public_addresses_and_to_hosts_that_were_named() {
        let named = [("registry.example.com", Some(5000)), ("storage.example.com", None), ("10.0.0.3", Some(9000))];
        let reach = Reach::new(named, false);
        // Wherever it is itself.
        assert!(admits(&reach, "registry.example.com", 5000, "10.0.0.1"));
        assert!(admits(&reach, "registry.example.com", 6379, "8.8.8.8"));
        assert!(!admits(&reach, "registry.example.com", 6379, "10.0.0.1"), "another service of its host");
        assert!(admits(&reach, "STORAGE.example.com.", 9000, "10.0.0.2"));
        assert!(admits(&reach, "10.0.0.3", 9000, "10.0.0.3"));
        assert!(!admits(&reach, "10.0.0.3", 9001, "10.0.0.3"));
        assert!(admits(&reach, "other.example.com", 443, "1.1.1.1"));
        assert!(!admits(&reach, "other.example.com", 443, "10.0.0.2"));
        assert!(!admits(&reach, "127.0.0.1", 5000, "127.0.0.1"));
        let mixed = vec!["1.1.1.1".parse().unwrap(), "10.0.0.1".parse().unwrap()];
        assert!(reach.admitted("other.example.com", mixed).is_err());
    }

    #[test]
    fn where_private_addresses_are_allowed_those_of_metadata_still_have_to_be_named() {
        let reach = Reach::new([("registry.example.com", Some(443)), ("169.254.1.1", None)], true);
        assert!(admits(&reach, "other.example.com", 443, "10.0.0.2"));
        assert!(admits(&reach, "169.254.1.1", 443, "169.254.1.1"));
        for metadata in ["169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::254", "fe80::1"] {
            assert!(!admits(&reach, "other.example.com", 443, metadata), "{metadata}");
        }
    }
}
