//! What counts as one client where only its address is known.

use std::net::{IpAddr, Ipv6Addr};

/// What counts as one address: whoever has IPv6 has a whole network of it.
pub(crate) fn network_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(six) => match six.to_ipv4_mapped() {
            Some(four) => four.into(),
            None => Ipv6Addr::from(u128::from(six) & !u128::from(u64::MAX)).into(),
        },
        four => four,
    }
}
