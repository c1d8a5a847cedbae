//! Users of an LDAP directory: their passwords are right if the directory lets them bind.
//!
//! A right one is remembered for a short time under a keyed hash, for clients send theirs with each request. The name that
//! counts is the one in the directory, which does not tell apart what differs in case alone.

mod exchange;
mod wire;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ring::hmac;
use ring::rand::SystemRandom;
use rustls::ClientConfig;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use self::exchange::{Failed, Found, log_in};
use super::tries::Tries;
use super::{Identity, Problem};
use crate::remote::{authorities, trusting};
use crate::settings::Ldap;

/// Who vouches for users of the directory.
pub(super) const BY: &str = "ldap";

/// How long it is remembered that a password was right, and of how many at most.
const REMEMBERED: Duration = Duration::from_secs(300);
const MOST_REMEMBERED: usize = 10_000;

/// How many logins ask the directory at once. Others wait for as long as one answer may take.
const AT_ONCE: usize = 16;

/// What a client is told while the directory cannot be asked.
const AWAY: &str = "the directory (LDAP) cannot be reached, so its users cannot be checked now";

/// A directory, and what is remembered of its users.
pub(super) struct Directory {
    settings: Arc<Ldap>,
    tls: Arc<ClientConfig>,
    remembered: Arc<Remembered>,
}

/// What outlives a reload.
struct Remembered {
    key: hmac::Key,
    right: Mutex<HashMap<Mark, (Instant, Found)>>,
    room: Arc<Semaphore>,
    /// Tries that are none, because they may be meant for another registry.
    strays: Tries,
    /// Whether the directory could not be asked the last time: it is logged when that changes.
    away: Mutex<bool>,
}

/// Why somebody is not let in.
struct Refused {
    problem: Problem,
    /// What the log says.
    reason: String,
}

/// Stands for the settings, a name and a password.
type Mark = [u8; 32];

impl Directory {
    /// As the settings have it, if they have one. What `before` remembers, this remembers too.
    pub(super) fn of(settings: &Ldap, before: Option<&Self>) -> Result<Option<Self>, String> {
        settings.check()?;
        if !settings.is_set() {
            return Ok(None);
        }
        let trusted = authorities(settings.ca.as_deref()).map_err(|error| {
            let path = settings.ca.as_deref().unwrap_or("".as_ref());
            format!("the certificates in {} cannot be used: {error}", path.display())
        })?;
        if let Some(path) = &settings.bind_password_file {
            std::fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
        }
        let remembered = before.map_or_else(Remembered::new, |before| Ok(before.remembered.clone()))?;
        Ok(Some(Self { settings: Arc::new(settings.clone()), tls: Arc::new(trusting(trusted)), remembered }))
    }

    /// A text that changes when the directory is another, or is asked otherwise.
    pub(super) fn line(&self) -> String {
        format!("{:?}", self.settings)
    }

    /// Who has that name and that password. `is_taken` says whether a name is that of a user of the password file.
    ///
    /// # Errors
    ///
    /// [`Problem::Wrong`], whatever was wrong; [`Problem::Token`] for a user who cannot log in though the password is right;
    /// [`Problem::TooMany`] and [`Problem::Busy`] as for other passwords; [`Problem::Unreachable`] when the directory cannot
    /// be asked.
    pub(super) async fn check(
        &self,
        (name, password): (&str, &str),
        from: IpAddr,
        tries: &Tries,
        is_taken: impl Fn(&str) -> bool,
    ) -> Result<Identity, Problem> {
        self.identity((name, password), from, tries, is_taken).await.map_err(|Refused { problem, reason }| {
            match problem {
                Problem::TooMany => tracing::warn!("{from} tries passwords too often"),
                Problem::Busy => tracing::warn!("too many logins wait for the directory: {from} is told to come again"),
                Problem::Unreachable(_) => {}
                _ => tracing::info!(
                    target: "orlop::auth",
                    "{name:?} from {from} is not let in by the directory: {reason}"
                ),
            }
            problem
        })
    }

    /// The same where a client may send by mistake what it knows of another registry. That is no try, and nothing is logged
    /// of it; nothing is what a wrong password gives.
    ///
    /// # Errors
    ///
    /// When it cannot be said now, or the user cannot log in though the password is right.
    pub(super) async fn recognize(
        &self,
        pair: (&str, &str),
        from: IpAddr,
        is_taken: impl Fn(&str) -> bool,
    ) -> Result<Option<Identity>, Problem> {
        match self.identity(pair, from, &self.remembered.strays, is_taken).await {
            Ok(identity) => Ok(Some(identity)),
            Err(Refused { problem: Problem::Wrong, .. }) => Ok(None),
            Err(Refused { problem, .. }) => Err(problem),
        }
    }

    async fn identity(
        &self,
        (name, password): (&str, &str),
        from: IpAddr,
        tries: &Tries,
        is_taken: impl Fn(&str) -> bool,
    ) -> Result<Identity, Refused> {
        let refused = |problem, reason: &str| Refused { problem, reason: reason.to_owned() };
        // With an empty one a bind is one of nobody, and passes.
        if password.is_empty() {
            return Err(refused(Problem::Wrong, "the password is empty"));
        }
        let mark = self.mark(name, password);
        let found = match self.remembered.get(&mark) {
            Some(found) => found,
            None => {
                if !tries.count(from) {
                    return Err(refused(Problem::TooMany, ""));
                }
                let found = self.ask(name, password).await?;
                self.remembered.keep(mark, found.clone());
                found
            }
        };
        // Names of providers have a colon, and those of the password file are its own.
        let own = found.name.as_str();
        let odd = own.is_empty() || own.len() > 255 || own.contains(':') || own.chars().any(char::is_control);
        if odd || is_taken(own) {
            let reason = format!("its name there, {own:?}, is that of another user, or cannot be one");
            return Err(refused(Problem::Wrong, &reason));
        }
        Ok(Identity::user(found.name).vouched_by(BY).with_groups(found.groups))
    }

    async fn ask(&self, name: &str, password: &str) -> Result<Found, Refused> {
        let waited = timeout(self.settings.timeout, self.remembered.room.clone().acquire_owned()).await;
        let Ok(Ok(permit)) = waited else {
            return Err(Refused { problem: Problem::Busy, reason: String::new() });
        };
        let (settings, tls) = (self.settings.clone(), self.tls.clone());
        let (sent, given) = (name.to_owned(), password.to_owned());
        // What the library makes of an odd answer may be a panic, which ends this task alone.
        let asked = tokio::spawn(async move {
            let _permit = permit;
            log_in(&settings, &tls, &sent, &given).await
        });
        let answered = asked.await.unwrap_or_else(|_| Err(Failed::Unreachable("its answer cannot be read".into())));
        let is_away = matches!(answered, Err(Failed::Unreachable(_)));
        let was_away = self.remembered.is_away(is_away);
        if was_away && !is_away {
            tracing::info!("ldap: the directory answers again");
        }
        answered.map_err(|failed| match failed {
            Failed::Wrong(reason) => Refused { problem: Problem::Wrong, reason },
            Failed::Refused(reason) => Refused { problem: Problem::Token(reason.clone()), reason },
            Failed::Unreachable(reason) => {
                match was_away {
                    true => tracing::debug!("ldap: {reason}"),
                    false => tracing::error!("ldap: {reason}; its users get 503 until it answers"),
                }
                Refused { problem: Problem::Unreachable(AWAY.into()), reason }
            }
        })
    }

    fn mark(&self, name: &str, password: &str) -> Mark {
        let mut context = hmac::Context::with_key(&self.remembered.key);
        for part in [&self.line(), name, password] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut mark = [0; 32];
        mark.copy_from_slice(context.sign().as_ref());
        mark
    }
}

impl Remembered {
    fn new() -> Result<Arc<Self>, String> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).map_err(|_| "no random numbers")?;
        let room = Arc::new(Semaphore::new(AT_ONCE));
        Ok(Arc::new(Self { key, right: Mutex::default(), room, strays: Tries::new(), away: Mutex::default() }))
    }

    fn get(&self, mark: &Mark) -> Option<Found> {
        let right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        right.get(mark).filter(|(since, _)| since.elapsed() < REMEMBERED).map(|(_, found)| found.clone())
    }

    fn keep(&self, mark: Mark, found: Found) {
        let mut right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        if right.len() >= MOST_REMEMBERED {
            right.retain(|_, (since, _)| since.elapsed() < REMEMBERED);
        }
        if right.len() < MOST_REMEMBERED {
            right.insert(mark, (Instant::now(), found));
        }
    }

    /// Notes whether the directory can be asked, and says what was before.
    fn is_away(&self, away: bool) -> bool {
        std::mem::replace(&mut *self.away.lock().unwrap_or_else(PoisonError::into_inner), away)
    }
}
