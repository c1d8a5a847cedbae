//! What each client may take: requests at once, requests a second, and how large a blob it may push.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, RateLimiter};

use crate::auth::identity::Identity;
use crate::auth::rules::Rules;
use crate::crowd::{Client, Crowd, Slot};
use crate::settings::{Each, LimitSetting};

/// How many clients are remembered before those that have not been seen of late are forgotten.
const REMEMBERED: usize = 10_000;

/// How long a request waits for its client's share. An ordinary push sends more requests at once than a limit has, and
/// many clients do not retry after a 429.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// How many requests of one client wait for its share.
pub(crate) const QUEUE: usize = 64;

/// The limits in force, and what is taken of them.
pub(crate) struct Shares(Vec<Arc<Share>>);

struct Share {
    limit: LimitSetting,
    running: Option<Crowd>,
    rate: Option<DefaultKeyedRateLimiter<Client>>,
    /// Those that wait because their client sends too fast.
    queue: Crowd,
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
            running: limit.requests.map(|most| Crowd::new(most, QUEUE)),
            rate: limit.rate.map(|rate| RateLimiter::keyed(governor::Quota::per_second(rate))),
            queue: Crowd::new(QUEUE, 0),
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

    /// Lets a request in, now or soon, or says how long its sender is to wait.
    pub(crate) async fn enter(&self, rules: &Rules, identity: &Identity, from: IpAddr) -> Result<Entered, Duration> {
        let mut entered = Entered { slots: Vec::new(), upload: u64::MAX };
        for share in self.0.iter().filter(|share| rules.is_one_of(&share.limit.who, identity)) {
            let client = match share.limit.each {
                Each::User => Client::of(&identity.name(), from),
                Each::Address => Client::at(from),
            };
            share.wait_for_rate(&client).await?;
            if let Some(running) = &share.running {
                let slot = running.enter_within(&client, 1, PATIENCE).await;
                entered.slots.push(slot.ok_or(Duration::from_secs(1))?);
            }
            entered.upload = entered.upload.min(share.limit.upload.map_or(u64::MAX, |upload| upload.as_u64()));
        }
        Ok(entered)
    }
}

impl Share {
    async fn wait_for_rate(&self, client: &Client) -> Result<(), Duration> {
        let (Some(rate), Some(limit)) = (&self.rate, self.limit.rate) else { return Ok(()) };
        if rate.len() > REMEMBERED {
            rate.retain_recent();
        }
        let deadline = Instant::now() + PATIENCE;
        let mut waiting = None;
        loop {
            let Err(until) = rate.check_key(client) else { return Ok(()) };
            let wait = until.wait_time_from(DefaultClock::default().now());
            if waiting.is_none() {
                // Those that wait already go first.
                let before = u32::try_from(self.queue.count(client)).unwrap_or(u32::MAX);
                let turn = wait + Duration::from_secs(1) * before / limit.get();
                if Instant::now() + turn > deadline {
                    return Err(turn);
                }
                waiting = Some(self.queue.enter(client).ok_or(turn)?);
            } else if Instant::now() + wait > deadline {
                return Err(wait);
            }
            tokio::time::sleep(wait).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(limits: &[&str]) -> Shares {
        let limits: Vec<LimitSetting> = limits.iter().map(|limit| limit.parse().unwrap()).collect();
        Shares::new(&limits)
    }

    #[tokio::test(start_paused = true)]
    async fn each_has_a_share_of_its_own_and_gives_it_back() {
        let shares =
            shares(&["{ who = ['anybody'], requests = 2, upload = '1MiB' }", "{ who = ['user:ci'], upload = '1KiB' }"]);
        let rules = Rules::default();
        let enter = async |user: &str, from: &str| {
            let identity = if user.is_empty() { Identity::anonymous() } else { Identity::user(user) };
            shares.enter(&rules, &identity, from.parse().unwrap()).await
        };
        let first = enter("alice", "10.0.0.1").await.unwrap();
        let _second = enter("alice", "10.0.0.2").await.unwrap();
        assert!(enter("alice", "10.0.0.3").await.is_err(), "a user is one wherever it is");
        assert_eq!(enter("ci", "10.0.0.1").await.unwrap().upload, 1 << 10);
        // Whoever has a certificate of a user's name is another.
        let certificate = Identity::anonymous().with_certificate(vec!["alice".to_owned()]);
        assert!(shares.enter(&rules, &certificate, "10.0.0.3".parse().unwrap()).await.is_ok());
        drop(first);
        assert_eq!(enter("alice", "10.0.0.3").await.unwrap().upload, 1 << 20);
        let _held = [enter("", "2001:db8::1").await.unwrap(), enter("", "2001:db8::2").await.unwrap()];
        assert!(enter("", "2001:db8::3").await.is_err(), "a network of IPv6 is one client");
        assert!(enter("", "2001:db8:0:1::3").await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn other_limits_forget_nothing_of_those_that_stay() {
        let (kept, other) = ("{ who = ['anybody'], requests = 1 }", "{ who = ['anybody'], requests = 2 }");
        let shares = shares(&[kept]);
        let enter = async |shares: &Shares| {
            let from = "10.0.0.1".parse().unwrap();
            shares.enter(&Rules::default(), &Identity::user("alice"), from).await.ok()
        };
        let again = |limits: &[&str]| {
            shares.again(&limits.iter().map(|limit| limit.parse().unwrap()).collect::<Vec<LimitSetting>>())
        };
        let _held = enter(&shares).await.unwrap();
        assert!(enter(&again(&[kept])).await.is_none());
        assert!(enter(&again(&[other, kept])).await.is_none());
        assert!(enter(&again(&[other])).await.is_some());
    }

    #[tokio::test]
    async fn whoever_asks_too_often_waits_and_is_told_how_long_when_that_is_long() {
        let shares = shares(&["{ who = ['anybody'], each = 'address', rate = 2 }"]);
        let (rules, nobody) = (Rules::default(), Identity::anonymous());
        let shares = Arc::new(shares);
        let enter = |from: &str| shares.enter(&rules, &nobody, from.parse().unwrap());
        let began = Instant::now();
        let mut many = tokio::task::JoinSet::new();
        for _ in 0..14 {
            let shares = shares.clone();
            many.spawn(async move {
                let from = "10.0.0.1".parse().unwrap();
                shares.enter(&Rules::default(), &Identity::anonymous(), from).await.map(drop)
            });
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        let wait = enter("10.0.0.1").await.err().unwrap();
        assert!(wait > Duration::from_secs(4) && wait < Duration::from_secs(7), "{wait:?}");
        assert!(enter("10.0.0.2").await.is_ok());
        let entered = many.join_all().await.iter().filter(|entered| entered.is_ok()).count();
        // Two at once, and two a second after that.
        assert!((10..=12).contains(&entered), "{entered} in {:?}", began.elapsed());
    }
}
