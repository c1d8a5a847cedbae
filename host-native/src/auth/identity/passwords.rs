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
    checks: Arc<Checks>,
}

/// What checks passwords, whatever file they are in: what it remembers outlives a reload.
struct Checks {
    right: Arc<Right>,
    key: hmac::Key,
    hashers: Hashers,
    tries: Arc<Tries>,
    /// Tries that are none, because they may be meant for another registry.
    strays: Tries,
}

/// What was right, by a keyed hash over name, password and the line of the file: when the line changes or goes, nothing
/// is remembered of it.
#[derive(Default)]
struct Right(Mutex<HashMap<Mark, Instant>>);

/// Stands for a name, a password and a line of the file.
type Mark = [u8; 32];

impl Passwords {
    /// Those in that file. What `before` knows of passwords and of who tried wrong ones, this knows too.
    pub(super) fn open(path: &Path, before: Option<&Self>, tries: &Arc<Tries>) -> Result<Self, String> {
        let users = match before.map(|before| &before.users).filter(|users| users.is_of(&[path])) {
            Some(users) => {
                users.read_again()?;
                users.clone()
            }
            None => {
                let name = path.display().to_string();
                let parse =
                    move |files: &[Vec<u8>]| Users::parse(&files[0]).map_err(|reason| format!("{name}, {reason}"));
                Watched::open(vec![path.into()], parse)?
            }
        };
        let checks = before.map_or_else(|| Checks::new(tries.clone()), |before| Ok(before.checks.clone()))?;
        Ok(Self { users, checks })
    }

    pub(super) fn watch(&self) {
        self.users.watch();
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.users.get().get(name).is_some()
    }

    /// The names of all users, in no order.
    pub(super) fn names(&self) -> Vec<String> {
        self.users.get().names().map(String::from).collect()
    }

    /// What the file says of a user.
    pub(super) fn line(&self, name: &str) -> Option<String> {
        self.users.get().get(name).map(|hash| hash.as_str().to_owned())
    }

    /// Whether this is the password of that user. To somebody who asks, a wrong password and a user who is not there
    /// look the same, also on a clock.
    pub(super) async fn check(&self, name: &str, password: &str, from: IpAddr) -> Result<(), Problem> {
        match self.is_right(name, password, || self.checks.tries.count(from)).await {
            Ok(true) => Ok(()),
            Ok(false) => {
                tracing::info!(target: "orlop::auth", "wrong password for {name:?} from {from}");
                Err(Problem::Wrong)
            }
            Err(problem) => {
                match problem {
                    Problem::TooMany => tracing::warn!("{from} tries passwords too often"),
                    _ => tracing::warn!("too many passwords wait to be checked: {from} is told to come again"),
                }
                Err(problem)
            }
        }
    }

    /// The same where a client may send by mistake what it knows of another registry. That is no try, and nothing is
    /// logged of it; yet nobody can guess passwords faster there than elsewhere.
    ///
    /// # Errors
    ///
    /// When it cannot be said now.
    pub(super) async fn recognize(&self, name: &str, password: &str, from: IpAddr) -> Result<bool, Problem> {
        self.is_right(name, password, || self.checks.strays.count(from)).await
    }

    /// Whether a password is right, if one may be tried that is not known to be.
    async fn is_right(&self, name: &str, password: &str, may_try: impl FnOnce() -> bool) -> Result<bool, Problem> {
        let users = self.users.get();
        let mark = users.get(name).map(|hash| self.mark(name, password, hash.as_str()));
        if mark.is_some_and(|mark| self.checks.right.has(&mark)) {
            return Ok(true);
        }
        if !may_try() {
            return Err(Problem::TooMany);
        }
        let right = self.checks.right.clone();
        let (name, password) = (name.to_owned(), password.to_owned());
        let work = move |memory: &mut Memory| {
            // A client that sends many requests at once has its password hashed once.
            if mark.is_some_and(|mark| right.has(&mark)) {
                return true;
            }
            let matches = users.check(&name, &password, memory);
            if let Some(mark) = mark.filter(|_| matches) {
                right.remember(mark);
            }
            matches
        };
        self.checks.hashers.run(work).await.map_err(|Full| Problem::Busy)
    }

    fn mark(&self, name: &str, password: &str, hash: &str) -> Mark {
        let mut context = hmac::Context::with_key(&self.checks.key);
        for part in [name, password, hash] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut mark = [0; 32];
        mark.copy_from_slice(context.sign().as_ref());
        mark
    }
}

impl Checks {
    fn new(tries: Arc<Tries>) -> Result<Arc<Self>, String> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).map_err(|_| "no random numbers")?;
        Ok(Arc::new(Self { right: Arc::default(), key, hashers: Hashers::new(), tries, strays: Tries::new() }))
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
        let passwords = Passwords::open(&path, None, &Arc::new(Tries::new())).unwrap();
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
        let passwords = Passwords::open(&path, None, &Arc::new(Tries::new())).unwrap();
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
