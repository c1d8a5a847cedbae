//! How many passwords each network may try.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::crowd::network_of;

/// How many a network may try a minute; right ones that are remembered are not counted.
pub(super) const TRIES: u32 = 60;

/// How often the networks are forgotten that have all their tries again. A network that tried once is
/// forgotten after two seconds, so that what is kept is what tried of late.
const FORGET: Duration = Duration::from_secs(1);

/// The tries of each network.
pub(super) struct Tries {
    limiter: DefaultKeyedRateLimiter<IpAddr>,
    forgotten: Mutex<Instant>,
}

impl Tries {
    pub(super) fn new() -> Self {
        let tries = Quota::per_minute(NonZeroU32::new(TRIES).unwrap_or(NonZeroU32::MIN));
        Self { limiter: RateLimiter::keyed(tries), forgotten: Mutex::new(Instant::now()) }
    }

    /// Counts one more from there; whether it may be tried.
    pub(super) fn count(&self, from: IpAddr) -> bool {
        self.forget();
        self.limiter.check_key(&network_of(from)).is_ok()
    }

    fn forget(&self) {
        let mut forgotten = self.forgotten.lock().unwrap_or_else(PoisonError::into_inner);
        if forgotten.elapsed() >= FORGET {
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
            *forgotten = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    /// The address of a host in a network of 64 bits.
    fn address(network: u64, host: u64) -> IpAddr {
        Ipv6Addr::from((0x2001_0db8_u128 << 96) | (u128::from(network) << 64) | u128::from(host)).into()
    }

    #[test]
    fn a_network_of_ipv6_has_the_tries_of_one_address() {
        let tries = Tries::new();
        assert!((0..u64::from(TRIES)).all(|host| tries.count(address(7, host))));
        assert!(!tries.count(address(7, 1 << 63)));
        assert!(tries.count(address(8, 0)), "another network");
        let four: IpAddr = [10, 0, 0, 1].into();
        assert!((0..TRIES).all(|_| tries.count(four)));
        let mapped = IpAddr::V6(std::net::Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped());
        assert!(!tries.count(mapped), "the same address");
    }

    #[test]
    fn networks_that_tried_once_are_forgotten() {
        let tries = Tries::new();
        for network in 0..20_000 {
            tries.count(address(network, 1));
        }
        assert!((0..TRIES).all(|_| tries.count(address(1 << 20, 1))));
        std::thread::sleep(Duration::from_millis(2500));
        assert!(!(0..TRIES / 2).all(|_| tries.count(address(1 << 20, 1))), "whoever tried often is not forgotten");
        assert!(tries.limiter.len() < 100, "{}", tries.limiter.len());
    }
}
