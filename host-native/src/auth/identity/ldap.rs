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
    /// Whether the directory could not be asked the last time: it is logged when that changes.
    away: Mutex<bool>,
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
    /// [`Problem::Wrong`], whatever was wrong; [`Problem::TooMany`] and [`Problem::Busy`] as for other passwords;
    /// [`Problem::Unreachable`] when the directory cannot be asked.
    pub(super) async fn check(
        &self,
        (name, password): (&str, &str),
        from: IpAddr,
        tries: &Tries,
        is_taken: impl Fn(&str) -> bool,
    ) -> Result<Identity, Problem> {
        // An empty one would be no try to log in, and would pass.
        if password.is_empty() {
            return Err(Problem::Wrong);
        }
        let mark = self.mark(name, password);
        let found = match self.remembered.get(&mark) {
            Some(found) => found,
            None => {
                if !tries.count(from) {
                    tracing::warn!("{from} tries passwords too often");
                    return Err(Problem::TooMany);
                }
                let found = self.ask(name, password, from).await?;
                self.remembered.keep(mark, found.clone());
                found
            }
        };
        // Names of providers have a colon, and those of the password file are its own.
        let own = found.name.as_str();
        let odd = own.is_empty() || own.len() > 255 || own.contains(':') || own.chars().any(char::is_control);
        if odd || is_taken(own) {
            tracing::info!(
                target: "orlop::auth",
                "{name:?} of the directory may not log in: its name {own:?} is that of another user, or cannot be one"
            );
            return Err(Problem::Wrong);
        }
        Ok(Identity::user(found.name).vouched_by(BY).with_groups(found.groups))
    }

    async fn ask(&self, name: &str, password: &str, from: IpAddr) -> Result<Found, Problem> {
        let waited = timeout(self.settings.timeout, self.remembered.room.clone().acquire_owned()).await;
        let Ok(Ok(permit)) = waited else {
            tracing::warn!("too many logins wait for the directory: {from} is told to come again");
            return Err(Problem::Busy);
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
        match answered {
            Ok(found) => {
                if was_away {
                    tracing::info!("ldap: the directory answers again");
                }
                Ok(found)
            }
            Err(Failed::Wrong(reason)) => {
                tracing::info!(target: "orlop::auth", "{name:?} from {from} is not let in by the directory: {reason}");
                Err(Problem::Wrong)
            }
            Err(Failed::Unreachable(reason)) => {
                match was_away {
                    true => tracing::debug!("ldap: {reason}"),
                    false => tracing::error!("ldap: {reason}; its users get 503 until it answers"),
                }
                Err(Problem::Unreachable(AWAY.into()))
            }
        }
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
        Ok(Arc::new(Self { key, right: Mutex::default(), room, away: Mutex::default() }))
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
