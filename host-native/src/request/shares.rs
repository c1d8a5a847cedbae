//! What each client may take: requests at once, requests a second, and how large a blob it may push.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, RateLimiter};

use crate::auth::identity::Identity;
use crate::auth::rules::Rules;
use crate::request::crowd::{Crowd, Slot, network_of};
use crate::settings::{Each, LimitSetting};

/// How many clients are remembered before those that have not been seen of late are forgotten.
const REMEMBERED: usize = 10_000;

/// The limits in force, and what is taken of them.
pub(crate) struct Shares(Vec<Arc<Share>>);

struct Share {
    limit: LimitSetting,
    running: Crowd,
    rate: Option<DefaultKeyedRateLimiter<String>>,
}

/// What a request was let in with.
pub(crate) struct Entered {
    pub(crate) slots: Vec<Slot>,
    /// The largest blob that may be pushed, in bytes.
    pub(crate) upload: u64,
}

impl Shares {
    pub(crate) fn new(limits: &[LimitSetting]) -> Self {
        let share = |limit: &LimitSetting| Share {
            limit: limit.clone(),
            running: Crowd::default(),
            rate: limit.rate.map(|rate| RateLimiter::keyed(governor::Quota::per_second(rate))),
        };
        Self(limits.iter().map(share).map(Arc::new).collect())
    }

    /// Other limits. What is taken of those that stay is not forgotten.
    pub(crate) fn again(&self, limits: &[LimitSetting]) -> Self {
        let Self(mut shares) = Self::new(limits);
        let mut before = self.0.clone();
        for share in &mut shares {
            if let Some(place) = before.iter().position(|before| before.limit == share.limit) {
                *share = before.swap_remove(place);
            }
        }
        Self(shares)
    }

    /// Lets a request in, or says how long its sender is to wait.
    pub(crate) fn enter(&self, rules: &Rules, identity: &Identity, from: IpAddr) -> Result<Entered, Duration> {
        let mut entered = Entered { slots: Vec::new(), upload: u64::MAX };
        for share in self.0.iter().filter(|share| rules.is_one_of(&share.limit.who, identity)) {
            let client = match share.limit.each {
                Each::User if !identity.name().is_empty() => format!("user {}", identity.name()),
                _ => network_of(from).to_string(),
            };
            share.check_rate(&client)?;
            if let Some(most) = share.limit.requests {
                entered.slots.push(share.running.enter(client, most).ok_or(Duration::from_secs(1))?);
            }
            entered.upload = entered.upload.min(share.limit.upload.map_or(u64::MAX, |upload| upload.as_u64()));
        }
        Ok(entered)
    }
}

impl Share {
    fn check_rate(&self, client: &String) -> Result<(), Duration> {
        let Some(rate) = &self.rate else { return Ok(()) };
        if rate.len() > REMEMBERED {
            rate.retain_recent();
        }
        rate.check_key(client).map_err(|until| until.wait_time_from(DefaultClock::default().now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(limits: &[&str]) -> Shares {
        let limits: Vec<LimitSetting> = limits.iter().map(|limit| limit.parse().unwrap()).collect();
        Shares::new(&limits)
    }

    #[test]
    fn each_has_a_share_of_its_own_and_gives_it_back() {
        let shares =
            shares(&["{ who = ['anybody'], requests = 2, upload = '1MiB' }", "{ who = ['user:ci'], upload = '1KiB' }"]);
        let rules = Rules::default();
        let enter = |user: &str, from: &str| {
            let identity = if user.is_empty() { Identity::anonymous() } else { Identity::user(user) };
            shares.enter(&rules, &identity, from.parse().unwrap())
        };
        let first = enter("alice", "10.0.0.1").unwrap();
        let _second = enter("alice", "10.0.0.2").unwrap();
        assert!(enter("alice", "10.0.0.3").is_err(), "a user is one wherever it is");
        assert_eq!(enter("ci", "10.0.0.1").unwrap().upload, 1 << 10);
        // Whoever has a certificate of a user's name is another.
        let certificate = Identity::anonymous().with_certificate(vec!["alice".to_owned()]);
        assert!(shares.enter(&rules, &certificate, "10.0.0.3".parse().unwrap()).is_ok());
        drop(first);
        assert_eq!(enter("alice", "10.0.0.3").unwrap().upload, 1 << 20);
        let _held = [enter("", "2001:db8::1").unwrap(), enter("", "2001:db8::2").unwrap()];
        assert!(enter("", "2001:db8::3").is_err(), "a network of IPv6 is one client");
        assert!(enter("", "2001:db8:0:1::3").is_ok());
    }

    #[test]
    fn other_limits_forget_nothing_of_those_that_stay() {
        let (kept, other) = ("{ who = ['anybody'], requests = 1 }", "{ who = ['anybody'], requests = 2 }");
        let shares = shares(&[kept]);
        let enter = |shares: &Shares| {
            shares.enter(&Rules::default(), &Identity::user("alice"), "10.0.0.1".parse().unwrap()).ok()
        };
        let again = |limits: &[&str]| {
            shares.again(&limits.iter().map(|limit| limit.parse().unwrap()).collect::<Vec<LimitSetting>>())
        };
        let _held = enter(&shares).unwrap();
        assert!(enter(&again(&[kept])).is_none());
        assert!(enter(&again(&[other, kept])).is_none());
        assert!(enter(&again(&[other])).is_some());
    }

    #[test]
    fn whoever_asks_too_often_is_told_how_long_to_wait() {
        let shares = shares(&["{ who = ['anybody'], each = 'address', rate = 3 }"]);
        let enter = |from: &str| shares.enter(&Rules::default(), &Identity::anonymous(), from.parse().unwrap());
        for _ in 0..3 {
            assert!(enter("10.0.0.1").is_ok());
        }
        let wait = enter("10.0.0.1").err().unwrap();
        assert!(wait > Duration::ZERO && wait <= Duration::from_millis(334), "{wait:?}");
        assert!(enter("10.0.0.2").is_ok());
    }
}
