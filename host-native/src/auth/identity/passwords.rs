//! Passwords, checked against a file that may change at any time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ring::hmac;
use ring::rand::SystemRandom;

use super::Problem;
use super::hashing::{Full, Hashers};
use super::htpasswd::{Memory, Users};
use super::tries::Tries;
use crate::settings::watched::Watched;

/// How long it is remembered that a password was right: clients send theirs with every request, and to hash it each
/// time would cost a processor.
const REMEMBERED: Duration = Duration::from_secs(600);

/// How many right passwords are remembered at most.
const MOST_REMEMBERED: usize = 10_000;

/// Passwords of users.
pub(crate) struct Passwords {
    users: Arc<Watched<Users>>,
    right: Arc<Right>,
    key: hmac::Key,
    hashers: Hashers,
    tries: Tries,
}

/// What was right, by a keyed hash over name, password and the line of the file: when the line changes or goes, nothing
/// is remembered of it.
#[derive(Default)]
struct Right(Mutex<HashMap<Mark, Instant>>);

/// Stands for a name, a password and a line of the file.
type Mark = [u8; 32];

impl Passwords {
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let name = path.display().to_string();
        let parse = move |files: &[Vec<u8>]| Users::parse(&files[0]).map_err(|reason| format!("{name}, {reason}"));
        Ok(Self {
            users: Watched::open(vec![path.into()], parse)?,
            right: Arc::default(),
            key: hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).map_err(|_| "no random numbers")?,
            hashers: Hashers::new(),
            tries: Tries::new(),
        })
    }

    pub(super) fn watch(&self) {
        self.users.watch();
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.users.get().get(name).is_some()
    }

    /// What the file says of a user.
    pub(super) fn line(&self, name: &str) -> Option<String> {
        self.users.get().get(name).map(|hash| hash.as_str().to_owned())
    }

    /// Whether this is the password of that user. To somebody who asks, a wrong password and a user who is not there
    /// look the same, also on a clock.
    pub(super) async fn check(&self, name: &str, password: &str, from: IpAddr) -> Result<(), Problem> {
        let users = self.users.get();
        let known = users.get(name);
        let Some(hash) = known.or(users.any()).cloned() else { return Err(Problem::Wrong) };
        let mark = self.mark(name, password, hash.as_str());
        let is_known = known.is_some();
        if is_known && self.right.has(&mark) {
            return Ok(());
        }
        if !self.tries.count(from) {
            tracing::warn!("{from} tries passwords too often");
            return Err(Problem::TooMany);
        }
        let (right, password) = (self.right.clone(), password.to_owned());
        let work = move |memory: &mut Memory| {
            // A client that sends many requests at once has its password hashed once.
            if is_known && right.has(&mark) {
                return true;
            }
            let matches = hash.matches(&password, memory) && is_known;
            if matches {
                right.remember(mark);
            }
            matches
        };
        match self.hashers.run(work).await {
            Ok(true) => Ok(()),
            Ok(false) => {
                tracing::info!(target: "orlop::auth", "wrong password for {name:?} from {from}");
                Err(Problem::Wrong)
            }
            Err(Full) => {
                tracing::warn!("too many passwords wait to be checked: {from} is told to come again");
                Err(Problem::Busy)
            }
        }
    }

    fn mark(&self, name: &str, password: &str, hash: &str) -> Mark {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [name, password, hash] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut mark = [0; 32];
        mark.copy_from_slice(context.sign().as_ref());
        mark
    }
}

impl Right {
    fn has(&self, mark: &Mark) -> bool {
        let right = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        right.get(mark).is_some_and(|since| since.elapsed() < REMEMBERED)
    }

    fn remember(&self, mark: Mark) {
        let mut right = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if right.len() >= MOST_REMEMBERED {
            right.retain(|_, since| since.elapsed() < REMEMBERED);
        }
        if right.len() < MOST_REMEMBERED {
            right.insert(mark, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::auth::identity::htpasswd::Hash;
    use crate::auth::identity::tries::TRIES;

    #[tokio::test]
    async fn nothing_is_remembered_of_a_line_that_has_changed() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("users");
        let line = |password: &str| format!("alice:{}\n", Hash::make(password, true).unwrap().as_str());
        std::fs::write(&path, line("old")).unwrap();
        let here: IpAddr = [127, 0, 0, 1].into();
        let passwords = Passwords::open(&path).unwrap();
        passwords.watch();
        assert_eq!(passwords.check("alice", "old", here).await, Ok(()));
        let began = Instant::now();
        for _ in 0..1000 {
            assert_eq!(passwords.check("alice", "old", here).await, Ok(()));
        }
        assert!(began.elapsed() < Duration::from_secs(1), "it is remembered");
        std::fs::write(&path, line("new")).unwrap();
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert_eq!(passwords.check("alice", "old", here).await, Err(Problem::Wrong));
        assert_eq!(passwords.check("alice", "new", here).await, Ok(()));
        std::fs::write(&path, "").unwrap();
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert_eq!(passwords.check("alice", "new", here).await, Err(Problem::Wrong));
    }

    #[tokio::test]
    async fn who_tries_too_often_is_told_to_wait() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("users");
        // The cheapest there is, so that the test does not take long.
        let hash = bcrypt::hash("secret", 4).unwrap();
        std::fs::write(&path, format!("alice:{hash}\n")).unwrap();
        let passwords = Passwords::open(&path).unwrap();
        let here: IpAddr = [127, 0, 0, 1].into();
        assert_eq!(passwords.check("alice", "secret", here).await, Ok(()));
        for _ in 0..TRIES - 1 {
            assert_eq!(passwords.check("nobody", "x", here).await, Err(Problem::Wrong));
        }
        assert_eq!(passwords.check("alice", "x", here).await, Err(Problem::TooMany));
        assert_eq!(passwords.check("alice", "secret", here).await, Ok(()), "it is remembered");
        assert_eq!(passwords.check("alice", "x", [127, 0, 0, 2].into()).await, Err(Problem::Wrong));
    }
}
