//! Who counts as one client.

use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use super::network::network_of;

/// Who has a share of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    /// A user, from wherever.
    User(String),
    /// An address of IPv4, or a network of IPv6.
    Network(IpAddr),
}

impl Client {
    /// The network of an address: whoever has IPv6 has a whole /64 of it.
    pub(crate) fn at(address: IpAddr) -> Self {
        Self::Network(network_of(address))
    }

    /// The user of that name, or the network of the address when the name is empty.
    pub(crate) fn of(user: &str, address: IpAddr) -> Self {
        if user.is_empty() { Self::at(address) } else { Self::User(user.into()) }
    }
}

impl Hash for Client {
    /// In one piece, for each request does it.
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::User(name) => name.hash(state),
            Self::Network(IpAddr::V4(address)) => state.write_u32(address.to_bits()),
            Self::Network(IpAddr::V6(address)) => state.write_u128(address.to_bits()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(address: &str) -> Client {
        Client::at(address.parse().unwrap())
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        assert_eq!(client("2001:db8::1"), client("2001:db8::2"));
        assert_ne!(client("2001:db8::1"), client("2001:db8:0:1::1"));
        assert_eq!(client("::ffff:192.0.2.1"), client("192.0.2.1"));
        assert_ne!(client("192.0.2.1"), client("192.0.2.2"));
    }
}
