//! API tokens as passwords (SPEC AB20 to AB34): a program shows one beside the name of its user, in Basic or at the token
//! endpoint.
//!
//! Whether it is there and what it allows is looked up with each request, so one that is revoked is out of force on all
//! hosts at once. A lookup reads one record and hashes a few bytes: no place in the queue of passwords is taken.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::mem;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use orlop_core::Timestamp;
use orlop_core::api_token::{ApiAction, ApiToken, ApiTokenId, ApiTokenRecord, ApiTokenShown, NewApiToken};
use orlop_core::caller::Rule;
use orlop_core::error::Error;
use orlop_core::secret::SecretHash;
use ring::rand::{SecureRandom, SystemRandom};

use super::sign_in::{PASSWORD, Vouched, unavailable};
use super::{Identities, Identity, Problem};
use crate::storage::{RequestBody, ambient};

/// How long it is remembered that a token was used, before the records are asked again whether that is noted.
const REMEMBERED: Duration = Duration::from_secs(15 * 60);

/// How many tokens that is remembered of at most.
const MOST: usize = 1 << 16;

/// The longest that a token lasts whose user no password file knows: nothing else tells when that user is gone.
pub(crate) const LONGEST_DAYS: u32 = 90;

/// What tokens are sealed as.
const SEALED: &str = "API token";

/// A token that somebody has shown, and what proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) id: ApiTokenId,
    pub(crate) proof: SecretHash,
}

/// As it is written into a token that was had for it.
impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.id, String::from(self.proof))
    }
}

impl FromStr for Shown {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (id, proof) = text.split_once(':').ok_or(())?;
        Ok(Self { id: id.parse().map_err(drop)?, proof: proof.to_owned().try_into().map_err(drop)? })
    }
}

/// What a token is to be.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) name: String,
    pub(crate) repositories: Vec<String>,
    pub(crate) actions: Vec<ApiAction>,
    pub(crate) expires: Option<Timestamp>,
}

/// The tokens that were used lately, until that is noted.
#[derive(Default)]
pub(crate) struct Uses(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    remembered: HashMap<ApiTokenId, Instant>,
    pending: Vec<ApiTokenId>,
}

impl Uses {
    fn note(&self, id: &ApiTokenId, now: Instant) {
        let mut seen = self.seen();
        let lately = |at: &Instant| now.saturating_duration_since(*at) < REMEMBERED;
        if seen.remembered.get(id).is_some_and(lately) || seen.pending.len() >= MOST {
            return;
        }
        if seen.remembered.len() >= MOST {
            // What is forgotten costs a question to the records, and writes nothing.
            seen.remembered.clear();
        }
        seen.remembered.insert(id.clone(), now);
        seen.pending.push(id.clone());
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Identities {
    /// Who has that name and that password or API token.
    pub(super) async fn check_basic(
        &self,
        (name, password): (String, String),
        from: std::net::IpAddr,
    ) -> Result<Identity, Problem> {
        match self.by_api_token(&name, &password).await? {
            Some(identity) => Ok(identity),
            // A wrong one is a wrong password: it is counted, logged and answered as one.
            None => self.check_password((name, password), from).await,
        }
    }

    /// Whether a password is an API token that this registry has made. One of another Orlop is none.
    pub(super) fn is_api_token(&self, password: &str) -> bool {
        let (_, text) = rejoined("", password);
        let unsealed = self.keeper.as_ref().and_then(|keeper| keeper.unsealed(SEALED, text));
        unsealed.and_then(ApiTokenShown::read).is_some()
    }

    /// Who shows an API token as a password; nothing when it is none, or not of that user.
    pub(super) async fn by_api_token(&self, name: &str, password: &str) -> Result<Option<Identity>, Problem> {
        let (name, password) = rejoined(name, password);
        let Some(keeper) = &self.keeper else { return Ok(None) };
        // What this registry has not made is not looked up: anybody could have the records read by that.
        let Some(shown) = keeper.unsealed(SEALED, password).and_then(ApiTokenShown::read) else { return Ok(None) };
        let proof = shown.proof;
        let step = keeper.registry.shown_api_token(name.into_owned(), shown, ambient());
        let found = keeper.host.run(step, &mut RequestBody::empty()).await.map_err(unavailable)?;
        Ok(found.and_then(|ApiToken { id, record }| self.has_used(Shown { id, proof }, record)))
    }

    /// Who has a token of our own that was had for an API token: it allows what it was asked for, as far as the API token
    /// allows that now.
    pub(super) async fn within_api_token(&self, shown: Shown, asked: Vec<Rule>) -> Result<Identity, Problem> {
        let keeper = self.keeper.as_ref().ok_or(Problem::Wrong)?;
        let step = keeper.registry.api_token(shown.id.clone(), ambient());
        let found = keeper.host.run(step, &mut RequestBody::empty()).await.map_err(unavailable)?;
        // The key that signs is among the records; what proves that the token was shown is not.
        let found = found.filter(|record| record.proof == shown.proof.again());
        let identity = found.and_then(|record| self.has_used(shown, record)).ok_or(Problem::Expired)?;
        Ok(identity.asked_for(&asked))
    }

    /// Whoever has used a token, if its user is still there.
    fn has_used(&self, shown: Shown, record: ApiTokenRecord) -> Option<Identity> {
        let keeper = self.keeper.as_ref()?;
        let passwords = self.passwords.as_ref();
        let there = record.by != PASSWORD || passwords.is_some_and(|passwords| passwords.has(&record.user));
        if !there || !self.knows(&record.by) {
            return None;
        }
        keeper.uses.note(&shown.id, Instant::now());
        let rule = record.rule();
        Some(Identity::user(record.user).with_groups(record.groups).vouched_by(record.by).with_api_token(shown, rule))
    }

    /// Makes a token of a user: what is told of it, and the secret, which is told this once.
    ///
    /// # Errors
    ///
    /// When there can be no such token, the user has too many, or the storage fails.
    pub(crate) async fn create_api_token(&self, of: Vouched, wanted: Wanted) -> Result<(ApiToken, String), Error> {
        let keeper = self.keeper.as_ref().ok_or(Error::NoSuchEndpoint)?;
        let latest = ambient().now.after(Duration::from_secs(u64::from(LONGEST_DAYS) * 24 * 3600));
        if of.by != PASSWORD && wanted.expires.is_none_or(|expires| expires > latest) {
            let expected = format!("1 to {LONGEST_DAYS} for a user who does not sign in with a password");
            return Err(Error::Parameter { name: "expires_in_days", expected });
        }
        let mut secret = [0; ApiTokenShown::SECRET];
        let chance = SystemRandom::new().fill(&mut secret);
        chance.map_err(|_| Error::Storage(orlop_core::Fault::Failed("the system has no random numbers".into())))?;
        let Vouched { user, groups, by } = of;
        let Wanted { name, repositories, actions, expires } = wanted;
        let hash = SecretHash::of(&secret);
        let proof = ApiTokenShown::proof(&secret).again();
        let new = NewApiToken { user, groups, by, name, repositories, actions, expires, secret: hash, proof };
        let step = keeper.registry.create_api_token(new, ambient());
        let token = keeper.host.run(step, &mut RequestBody::empty()).await?;
        tracing::info!(target: "orlop::auth", "{:?} has the API token {} now", token.record.user, token.id);
        let text = keeper.sealed(SEALED, &token.id.text(&secret));
        Ok((token, text))
    }

    /// The tokens of a user.
    ///
    /// # Errors
    ///
    /// When the storage fails.
    pub(crate) async fn api_tokens(&self, user: &str) -> Result<Vec<ApiToken>, Error> {
        let keeper = self.keeper.as_ref().ok_or(Error::NoSuchEndpoint)?;
        keeper.host.run(keeper.registry.api_tokens(user.to_owned(), ambient()), &mut RequestBody::empty()).await
    }

    /// The tokens of all users.
    ///
    /// # Errors
    ///
    /// When the storage fails.
    pub(crate) async fn all_api_tokens(&self) -> Result<Vec<ApiToken>, Error> {
        let keeper = self.keeper.as_ref().ok_or(Error::NoSuchEndpoint)?;
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let step = keeper.registry.all_api_tokens(after, ambient());
            let page = keeper.host.run(step, &mut RequestBody::empty()).await?;
            all.extend(page.tokens);
            after = page.after;
            if after.is_none() {
                return Ok(all);
            }
        }
    }

    /// Revokes a token. Whether there was one.
    ///
    /// # Errors
    ///
    /// When the storage fails.
    pub(crate) async fn revoke_api_token(&self, id: &ApiTokenId) -> Result<bool, Error> {
        let keeper = self.keeper.as_ref().ok_or(Error::NoSuchEndpoint)?;
        let step = keeper.registry.revoke_api_token(id.clone(), ambient());
        let revoked = keeper.host.run(step, &mut RequestBody::empty()).await?;
        if revoked {
            tracing::info!(target: "orlop::auth", "the API token {id} is revoked");
        }
        Ok(revoked)
    }

    /// Whether the user of a token is gone: one for whom only the password file vouches, in which he is not.
    pub(crate) fn has_lost(&self, record: &ApiTokenRecord) -> bool {
        let passwords = self.passwords.as_ref();
        record.by == PASSWORD && passwords.is_some_and(|passwords| !passwords.has(&record.user))
    }

    /// Has it noted which tokens were used lately. What cannot be noted now is noted when they are used again.
    ///
    /// # Errors
    ///
    /// When the storage fails.
    pub(crate) async fn note_uses(&self) -> Result<(), Error> {
        let Some(keeper) = &self.keeper else { return Ok(()) };
        let pending = mem::take(&mut keeper.uses.seen().pending);
        if pending.is_empty() {
            return Ok(());
        }
        let step = keeper.registry.note_api_tokens(pending.clone(), ambient());
        let noted = keeper.host.run(step, &mut RequestBody::empty()).await;
        if noted.is_err() {
            let mut seen = keeper.uses.seen();
            for id in &pending {
                seen.remembered.remove(id);
            }
        }
        noted
    }
}

/// A name and a token as they were before Basic took the first colon for the end of the name: names that a provider makes
/// have colons, and tokens have none.
fn rejoined<'t>(name: &'t str, password: &'t str) -> (Cow<'t, str>, &'t str) {
    match password.rsplit_once(':') {
        Some((rest, token)) => (format!("{name}:{rest}").into(), token),
        None => (name.into(), password),
    }
}

/// What is allowed by both: what a token was asked for, and what an API token allows.
pub(super) fn within(asked: &[Rule], allowed: &Rule) -> Vec<Rule> {
    let both = asked.iter().map(|asked| {
        // What is asked for is one repository, or the list of all.
        let in_all = asked.repositories.iter().any(|pattern| pattern.as_str() == "**");
        let of = |name: &str| name.parse().is_ok_and(|name| allowed.repositories.iter().any(|one| one.matches(&name)));
        let repositories = match in_all {
            true => allowed.repositories.clone(),
            false => asked.repositories.iter().filter(|pattern| of(pattern.as_str())).cloned().collect(),
        };
        let rights = asked.rights.iter().filter(|right| allowed.rights.contains(right)).copied().collect();
        Rule { allow: true, rights, repositories, tags: None }
    });
    both.collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use orlop_core::Registry;
    use orlop_core::caller::Right;
    use orlop_core::config::Pattern;
    use orlop_core::record::SessionKey;
    use tempfile::TempDir;

    use super::*;
    use crate::auth::identity::scope;
    use crate::settings::{Auth, Options};
    use crate::storage::Host;

    /// Whoever reads the records has the key that signs too, and still makes no token for an API token.
    #[tokio::test]
    async fn what_the_records_have_opens_no_api_token() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("users");
        std::fs::write(&path, format!("alice:{}\n", bcrypt::hash("secret", 4).unwrap())).unwrap();
        let host = Arc::new(Host::open(&directory.path().join("data"), &Options::default()).unwrap());
        let settings = Auth { htpasswd: Some(path), ..Auth::default() };
        let registry = Registry::new(orlop_core::Config::default());
        let identities = Identities::new(&settings).unwrap();
        let identities = identities.keeping(host, registry, SessionKey::new([7; 32])).unwrap();
        let of = Vouched { user: "alice".into(), groups: Vec::new(), by: PASSWORD.into() };
        let (name, repositories) = ("ci".to_owned(), vec!["**".to_owned()]);
        let wanted = Wanted { name, repositories, actions: ApiAction::ALL.into(), expires: None };
        let (ApiToken { id, record }, text) = identities.create_api_token(of, wanted).await.unwrap();
        let shown = identities.by_api_token("alice", &text).await.unwrap().unwrap();
        let right = shown.api_token().unwrap().clone();
        assert_eq!(right.id, id);
        let asked = scope::rules("repository:a:pull");
        assert!(identities.within_api_token(right.clone(), asked.clone()).await.is_ok());
        for proof in [record.secret, record.proof, record.secret.again(), right.proof.again()] {
            let forged = identities.within_api_token(Shown { id: id.clone(), proof }, asked.clone()).await;
            assert_eq!(forged, Err(Problem::Expired), "{proof:?}");
        }
        // One that was made up is not looked up.
        let keeper = identities.keeper.as_ref().unwrap();
        let bare = &text[..text.len() - 16];
        assert_eq!(keeper.unsealed(SEALED, &text), Some(bare));
        for made_up in [bare, &format!("{bare}{}", "0".repeat(16)), &keeper.sealed("cookie", bare), "", "é"] {
            assert_eq!(keeper.unsealed(SEALED, made_up), None, "{made_up}");
            assert_eq!(identities.by_api_token("alice", made_up).await, Ok(None), "{made_up}");
        }
    }

    #[test]
    fn a_token_for_a_token_allows_what_both_allow() {
        let allowed = Rule {
            allow: true,
            rights: vec![Right::List, Right::Pull],
            repositories: vec![Pattern::new("team/*"), Pattern::new("base")],
            tags: None,
        };
        let check = |asked: &str, expected: &[(&[&str], &[Right])]| {
            let rules = within(&scope::rules(asked), &allowed);
            let plain = rules.iter().filter(|rule| !rule.rights.is_empty() && !rule.repositories.is_empty());
            let found: Vec<_> = plain
                .map(|rule| (rule.repositories.iter().map(Pattern::as_str).collect::<Vec<_>>(), rule.rights.clone()))
                .collect();
            let expected: Vec<_> = expected.iter().map(|(names, rights)| (names.to_vec(), rights.to_vec())).collect();
            assert_eq!(found, expected, "{asked}");
        };
        check("repository:team/app:pull,push", &[(&["team/app"], &[Right::Pull])]);
        check("repository:team/app:push", &[]);
        check("repository:team/a/b:pull", &[]);
        check("repository:other:pull repository:base:*", &[(&["base"], &[Right::List, Right::Pull])]);
        check("registry:catalog:*", &[(&["team/*", "base"], &[Right::List])]);
        check("", &[]);
    }

    #[test]
    fn names_with_colons_come_out_of_basic_whole() {
        for (name, password, expected) in [
            ("alice", "orlop_x", ("alice", "orlop_x")),
            ("corp", "alice:orlop_x", ("corp:alice", "orlop_x")),
            ("github", "repo:acme/app:orlop_x", ("github:repo:acme/app", "orlop_x")),
            ("alice", "a:b", ("alice:a", "b")),
            ("", ":", (":", "")),
        ] {
            let (name, token) = rejoined(name, password);
            assert_eq!((name.as_ref(), token), expected);
        }
    }

    #[test]
    fn what_was_used_lately_is_handed_on_once_and_is_bounded() {
        let (uses, now) = (Uses::default(), Instant::now());
        let id = |number: usize| -> ApiTokenId { format!("{number:040x}").parse().unwrap() };
        (0..1000).for_each(|_| uses.note(&id(1), now));
        assert_eq!(uses.seen().pending.len(), 1);
        uses.note(&id(1), now + REMEMBERED);
        assert_eq!(uses.seen().pending.len(), 2);
        (0..MOST + 10).for_each(|number| uses.note(&id(number), now));
        assert_eq!(uses.seen().pending.len(), MOST);
        assert!(uses.seen().remembered.len() <= MOST);
    }
}
