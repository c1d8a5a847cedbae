//! Sessions of the web page (SPEC AB): a cookie that only the browser has, and a header that only a page of this server can
//! send along. Both come to the same identity as a password does.
//!
//! A cookie is sent by browsers with whatever makes them ask, a link or an image of another page too. So it counts only
//! together with `X-CSRF-Token`, which no page of another origin can send and which has nothing to be guessed by: it is a
//! hash over the secret of the cookie. Whether they belong together is seen without the records.

use std::fmt;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, header};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use orlop_core::error::Error;
use orlop_core::record::SessionKey;
use orlop_core::secret::{SecretHash, UserKey};
use orlop_core::sign_in::{NewSignIn, SignIn, SignInHandle};
use orlop_core::{Registry, Timestamp};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

use super::api_token::Uses;
use super::{Brought, Identities, Identity, Problem, ldap};
use crate::storage::{Host, RequestBody, ambient};

/// The header that goes with the cookie.
pub(crate) const CSRF: HeaderName = HeaderName::from_static("x-csrf-token");

/// The name of the cookie where the client came by TLS: browsers take it from this host alone, for all of its paths.
const SECURE: &str = "__Host-orlop-session";

/// Its name where the client came in plain text.
const PLAIN: &str = "orlop-session";

/// Who vouches for a user with a password.
pub(crate) const PASSWORD: &str = "password";

/// How many cookies of the name are looked at: another site of the same domain may have set one beside ours.
const MOST: usize = 2;

/// How many characters a seal has: 64 bits, which nobody guesses at the rate of requests.
const SEAL: usize = 16;

/// The longest name of a user, in bytes.
const LONGEST: usize = 255;

/// Whose session begins.
#[derive(Clone, Debug)]
pub(crate) struct Vouched {
    /// The name of the user.
    pub(crate) user: String,
    /// The groups that come with the user, beside those of the settings.
    pub(crate) groups: Vec<String>,
    /// Who vouches for the user: [`PASSWORD`], or what [`Identities::knows`] knows.
    pub(crate) by: String,
}

/// A session that has begun.
pub(crate) struct Begun {
    /// The value of `Set-Cookie`.
    pub(crate) cookie: String,
    /// Who has signed in.
    pub(crate) identity: Identity,
}

/// The session by which it is known who somebody is.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Signed {
    pub(crate) handle: SignInHandle,
    /// What is to come with the cookie.
    pub(crate) csrf: String,
    /// When it ends if it is not used again.
    pub(crate) ends: Timestamp,
}

/// Without what opens it: identities may be in logs.
impl fmt::Debug for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signed").field("ends", &self.ends).finish_non_exhaustive()
    }
}

/// Where sessions are kept.
#[derive(Clone)]
pub(crate) struct Keeper {
    pub(super) host: Arc<Host>,
    pub(super) registry: Registry,
    pub(super) uses: Arc<Uses>,
    key: hmac::Key,
}

impl Keeper {
    pub(crate) fn new(host: Arc<Host>, registry: Registry, key: &SessionKey) -> Self {
        Self { host, registry, uses: Arc::default(), key: hmac::Key::new(hmac::HMAC_SHA256, key.bytes()) }
    }

    /// The same, for other settings.
    pub(super) fn again(&self, registry: Registry) -> Self {
        Self { registry, ..self.clone() }
    }

    /// What stands for a line of the password file: a session is worth nothing once that has changed.
    fn mark(&self, user: &str, line: &str) -> String {
        let mut context = hmac::Context::with_key(&self.key);
        for part in ["sign-in", user, line] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        context.sign().as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// A text that this registry gives to a client as a secret of that kind, with a seal by which it knows it again.
    pub(super) fn sealed(&self, kind: &str, text: &str) -> String {
        format!("{text}{}", self.seal(kind, text))
    }

    /// The text without its seal; nothing when this registry has not made it. So whoever makes one up causes no look into the
    /// records.
    pub(super) fn unsealed<'t>(&self, kind: &str, text: &'t str) -> Option<&'t str> {
        let (bare, seal) = text.split_at_checked(text.len().checked_sub(SEAL)?)?;
        // Hashes are compared, so a clock tells nothing of the seal.
        (SecretHash::of(seal.as_bytes()) == SecretHash::of(self.seal(kind, bare).as_bytes())).then_some(bare)
    }

    fn seal(&self, kind: &str, text: &str) -> String {
        let mut context = hmac::Context::with_key(&self.key);
        for part in ["seal", kind, text] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        context.sign().as_ref()[..SEAL / 2].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// 256 bits that nobody else can make of that text, for that purpose, as 43 characters.
    pub(super) fn derived(&self, purpose: &str, text: &str) -> String {
        let mut context = hmac::Context::with_key(&self.key);
        for part in ["derived", purpose, text] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        BASE64_URL_SAFE_NO_PAD.encode(context.sign().as_ref())
    }

    async fn find(&self, handle: &SignInHandle) -> Result<Option<SignIn>, Problem> {
        let step = self.registry.signed_in(handle.clone(), ambient());
        self.host.run(step, &mut RequestBody::empty()).await.map_err(unavailable)
    }

    async fn renew(&self, handle: &SignInHandle) {
        let step = self.registry.renew_sign_in(handle.clone(), ambient());
        if let Err(error) = self.host.run(step, &mut RequestBody::empty()).await {
            tracing::warn!("a session of the web page cannot be renewed, and may end early: {error:?}");
        }
    }
}

/// The records are out of reach: then it is not known who asks.
pub(super) fn unavailable(error: Error) -> Problem {
    tracing::error!("who sends a request cannot be looked up: {error:?}");
    Problem::Unavailable
}

/// The text that goes with a cookie.
fn csrf(cookie: &str) -> String {
    String::from(SecretHash::of(format!("X-CSRF-Token of {cookie}").as_bytes()))
}

/// The cookies of a request that may be sessions.
fn cookies<'h>(keeper: &Keeper, headers: &'h HeaderMap, secure: bool) -> impl Iterator<Item = (&'h str, SignInHandle)> {
    let name = if secure { SECURE } else { PLAIN };
    let fields = headers.get_all(header::COOKIE).into_iter().filter_map(|field| field.to_str().ok());
    let pairs = fields.flat_map(|field| field.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let ours = pairs.filter(move |(known, _)| *known == name).take(MOST);
    ours.filter_map(|(_, value)| Some((value, SignInHandle::read(keeper.unsealed("cookie", value)?)?)))
}

/// The cookie that goes with the header of a request.
fn shown<'h>(keeper: &Keeper, brought: &Brought<'h>) -> Option<(&'h str, SignInHandle)> {
    let given = SecretHash::of(brought.headers.get(CSRF)?.as_bytes());
    // Hashes are compared, so a clock tells nothing of the text.
    cookies(keeper, brought.headers, brought.secure)
        .find(|(cookie, _)| SecretHash::of(csrf(cookie).as_bytes()) == given)
}

/// What `Set-Cookie` says.
fn set_cookie(value: &str, seconds: u64, secure: bool) -> String {
    let (name, flag) = if secure { (SECURE, "; Secure") } else { (PLAIN, "") };
    format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{flag}")
}

/// What `Set-Cookie` says so that a browser forgets its session.
pub(crate) fn forget_cookie(secure: bool) -> String {
    set_cookie("", 0, secure)
}

impl Identities {
    /// Begins a session of the web page for somebody who has proved who he is, and makes its cookie. `secure` says that the
    /// client came by TLS.
    ///
    /// # Errors
    ///
    /// When there is nowhere to keep sessions, the storage fails, or nobody can have that name.
    pub(crate) async fn begin_sign_in(&self, vouched: Vouched, secure: bool) -> Result<Begun, Error> {
        let keeper = self.keeper.as_ref().ok_or(Error::NoSuchEndpoint)?;
        let Vouched { user, groups, by } = vouched;
        if user.is_empty() || user.len() > LONGEST || user.chars().any(char::is_control) {
            return Err(Error::Denied("the name of the user is empty, too long, or has control characters".into()));
        }
        let mut secret = [0; SignInHandle::SECRET];
        let chance = SystemRandom::new().fill(&mut secret);
        chance.map_err(|_| Error::Storage(orlop_core::Fault::Failed("the system has no random numbers".into())))?;
        let hash = SecretHash::of(&secret);
        // Of a user who went while the password was checked there is nothing that a session could rest on.
        let gone = || Error::Denied(format!("the user {user} is not there any more"));
        let mark = Some(self.mark(&user, &by).ok_or_else(gone)?);
        let new = NewSignIn { user: user.clone(), groups: groups.clone(), by: by.clone(), mark, secret: hash };
        let place = keeper.host.run(keeper.registry.sign_in(new, ambient()), &mut RequestBody::empty()).await?;
        let key = UserKey::of(&user);
        let value = keeper.sealed("cookie", &SignInHandle::text(&key, place, &secret));
        let handle = SignInHandle { user: key, place, secret: hash };
        let config = keeper.registry.config();
        let ends = ambient().now.after(config.sign_in_idle.min(config.sign_in_lifetime));
        let signed = Signed { handle, csrf: csrf(&value), ends };
        let cookie = set_cookie(&value, config.sign_in_lifetime.as_secs(), secure);
        tracing::info!(target: "orlop::auth", "{user:?} has signed in by {by}");
        Ok(Begun { cookie, identity: Identity::user(user).with_groups(groups).vouched_by(by).signed_in(signed) })
    }

    /// Ends a session. Whether there was one.
    ///
    /// # Errors
    ///
    /// When the storage fails.
    pub(crate) async fn end_sign_in(&self, handle: &SignInHandle) -> Result<bool, Error> {
        let keeper = self.keeper.as_ref().ok_or(Error::NoSuchEndpoint)?;
        keeper.host.run(keeper.registry.sign_out(handle.clone(), ambient()), &mut RequestBody::empty()).await
    }

    /// The sessions that the cookies of a request may be, whether it has the header or not: for whoever signs in anew.
    pub(crate) fn sign_ins_of(&self, brought: &Brought<'_>) -> Vec<SignInHandle> {
        let Some(keeper) = &self.keeper else { return Vec::new() };
        cookies(keeper, brought.headers, brought.secure).map(|(_, handle)| handle).take(1).collect()
    }

    /// The cookie of a request that may be a session, for whoever ends it later.
    pub(super) fn sign_in_cookie<'h>(&self, brought: &Brought<'h>) -> Option<&'h str> {
        cookies(self.keeper.as_ref()?, brought.headers, brought.secure).map(|(cookie, _)| cookie).next()
    }

    /// The session of such a cookie.
    pub(super) fn sign_in_of(&self, cookie: &str) -> Option<SignInHandle> {
        SignInHandle::read(self.keeper.as_ref()?.unsealed("cookie", cookie)?)
    }

    /// Who is signed in by the cookie of a request and the header that goes with it; nothing when they do not go together.
    ///
    /// # Errors
    ///
    /// [`Problem::Expired`] when they do, and the session has ended.
    pub(super) async fn by_cookie(&self, brought: &Brought<'_>) -> Result<Option<Identity>, Problem> {
        let Some(keeper) = &self.keeper else { return Ok(None) };
        if brought.headers.contains_key(header::AUTHORIZATION) {
            return Ok(None);
        }
        let Some((cookie, handle)) = shown(keeper, brought) else { return Ok(None) };
        let renew = handle.clone();
        let found = self.session(keeper, cookie, handle).await?.ok_or(Problem::Expired)?;
        if found.1 {
            keeper.renew(&renew).await;
        }
        Ok(Some(found.0))
    }

    /// Who is signed in by the cookie of a request that asks for nothing but that. No page of another origin gets to read
    /// the answer.
    ///
    /// # Errors
    ///
    /// When it cannot be said.
    pub(crate) async fn whose_session(&self, brought: &Brought<'_>) -> Result<Identity, Problem> {
        if brought.headers.contains_key(header::AUTHORIZATION) {
            return self.identify(brought).await;
        }
        let Some(keeper) = self.keeper.as_ref().filter(|_| brought.is_of_this_origin()) else {
            return Ok(Identity::anonymous());
        };
        for (cookie, handle) in cookies(keeper, brought.headers, brought.secure) {
            if let Some((identity, _)) = self.session(keeper, cookie, handle).await? {
                return Ok(identity);
            }
        }
        Ok(Identity::anonymous())
    }

    /// Whose session it is, and whether it is to be renewed.
    async fn session(
        &self,
        keeper: &Keeper,
        cookie: &str,
        handle: SignInHandle,
    ) -> Result<Option<(Identity, bool)>, Problem> {
        let Some(SignIn { record, ends, renew }) = keeper.find(&handle).await? else { return Ok(None) };
        let rests_on = self.mark(&record.user, &record.by);
        if !self.knows(&record.by) || rests_on.is_none() || record.mark != rests_on {
            // Another host may have another password file for a moment, so the record stays.
            return Ok(None);
        }
        let signed = Signed { handle, csrf: csrf(cookie), ends };
        let identity = Identity::user(record.user).with_groups(record.groups).vouched_by(record.by);
        Ok(Some((identity.signed_in(signed), renew)))
    }

    /// What is known of a user and of who vouches for it, as far as a session ends when it changes; nothing of one who is
    /// not there.
    fn mark(&self, user: &str, by: &str) -> Option<String> {
        let (keeper, line) = (self.keeper.as_ref()?, self.line(user, Some(by))?);
        Some(keeper.mark(user, &line))
    }

    /// Whether what has vouched for a user still counts.
    pub(super) fn knows(&self, by: &str) -> bool {
        match by {
            PASSWORD => self.passwords.is_some(),
            ldap::BY => self.directory.is_some(),
            by => self.providers.line(by).is_some(),
        }
    }
}

impl Brought<'_> {
    /// Whether a page of this origin sends it, or no page at all, as far as the browser says (Fetch Metadata).
    pub(crate) fn is_of_this_origin(&self) -> bool {
        // A browser that says nothing of that says of which origin the page is, unless it is asked by none.
        self.headers.get("sec-fetch-site").map_or(self.own_origin, |site| site == "same-origin")
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use tempfile::TempDir;

    use super::*;
    use crate::settings::{Auth, Options};

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn brought(headers: &HeaderMap, secure: bool) -> Brought<'_> {
        Brought { headers, from: HERE, secure, own_origin: true }
    }

    #[tokio::test]
    async fn a_cookie_counts_with_its_header_alone() {
        let directory = TempDir::new().unwrap();
        let identities = keeping(&directory, &["alice"]);
        let keeper = identities.keeper.as_ref().unwrap();
        let value = |byte| {
            keeper.sealed("cookie", &SignInHandle::text(&UserKey::of("alice"), 0, &[byte; SignInHandle::SECRET]))
        };
        let found = |fields: &[(&'static str, String)], secure: bool| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, value.parse().unwrap());
            }
            shown(keeper, &brought(&headers, secure)).is_some()
        };
        let (one, other) = (value(1), value(2));
        let cookie = |value: &str| ("cookie", format!("a=b; {PLAIN}={value}; c"));
        assert!(found(&[cookie(&one), ("x-csrf-token", csrf(&one))], false));
        assert!(found(&[cookie(&other), cookie(&one), ("x-csrf-token", csrf(&one))], false), "one beside it");
        assert!(!found(&[cookie(&one)], false));
        assert!(!found(&[cookie(&one), ("x-csrf-token", csrf(&other))], false));
        assert!(!found(&[cookie(&one), ("x-csrf-token", String::new())], false));
        assert!(!found(&[cookie(&one), ("x-csrf-token", one.clone())], false));
        assert!(!found(&[("x-csrf-token", csrf(&one))], false));
        let secure = ("cookie", format!("{SECURE}={one}"));
        assert!(found(&[secure.clone(), ("x-csrf-token", csrf(&one))], true));
        assert!(!found(&[secure, ("x-csrf-token", csrf(&one))], false), "in plain text it has another name");
        assert!(!found(&[cookie(&one), ("x-csrf-token", csrf(&one))], true), "by TLS one that anybody can set is none");
    }

    /// Opens the password file with these users, and the records.
    fn keeping(directory: &TempDir, users: &[&str]) -> Identities {
        let path = directory.path().join("users");
        let line = |user: &&str| format!("{user}:{}\n", bcrypt::hash("secret", 4).unwrap());
        std::fs::write(&path, users.iter().map(line).collect::<String>()).unwrap();
        let host = Arc::new(Host::open(&directory.path().join("data"), &Options::default()).unwrap());
        let settings = Auth { htpasswd: Some(path), ..Auth::default() };
        let registry = Registry::new(orlop_core::Config::default());
        Identities::new(&settings).unwrap().keeping(host, registry, SessionKey::new([7; 32])).unwrap()
    }

    /// Whoever was removed while the password was checked gets no session, nor does a record without a user open one.
    #[tokio::test]
    async fn there_is_no_session_of_a_user_who_is_not_there() {
        let directory = TempDir::new().unwrap();
        let identities = keeping(&directory, &["alice"]);
        let of = |user: &str| Vouched { user: user.into(), groups: Vec::new(), by: PASSWORD.into() };
        let alice = identities.begin_sign_in(of("alice"), false).await.unwrap();
        let whose = async |cookie: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::COOKIE, cookie.split(';').next().unwrap().parse().unwrap());
            identities.whose_session(&brought(&headers, false)).await.unwrap().user_name().map(String::from)
        };
        assert_eq!(whose(&alice.cookie).await.as_deref(), Some("alice"));
        let refused = identities.begin_sign_in(of("mallory"), false).await;
        assert!(matches!(refused, Err(Error::Denied(_))));
        let keeper = identities.keeper.as_ref().unwrap();
        for mark in [None, Some("-".to_owned()), Some(String::new())] {
            let secret = [9; SignInHandle::SECRET];
            let (groups, by) = (Vec::new(), PASSWORD.to_owned());
            let new = NewSignIn { user: "mallory".into(), groups, by, mark, secret: SecretHash::of(&secret) };
            let step = keeper.registry.sign_in(new, ambient());
            let place = keeper.host.run(step, &mut RequestBody::empty()).await.unwrap();
            let value = keeper.sealed("cookie", &SignInHandle::text(&UserKey::of("mallory"), place, &secret));
            assert_eq!(whose(&set_cookie(&value, 1, false)).await, None);
        }
    }

    /// What this registry has not made is told apart without the records, which anybody could otherwise have read.
    #[tokio::test]
    async fn a_cookie_that_was_not_made_here_is_not_looked_up() {
        let directory = TempDir::new().unwrap();
        let identities = keeping(&directory, &["alice"]);
        let keeper = identities.keeper.as_ref().unwrap();
        let text = SignInHandle::text(&UserKey::of("alice"), 0, &[1; SignInHandle::SECRET]);
        let read = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::COOKIE, format!("{PLAIN}={value}").parse().unwrap());
            cookies(keeper, &headers, false).count()
        };
        let sealed = keeper.sealed("cookie", &text);
        assert_eq!((sealed.len(), read(&sealed)), (text.len() + 16, 1));
        assert_eq!((read(&text), read(&keeper.sealed("API token", &text))), (0, 0));
        assert_eq!(read(&format!("{text}{}", "0".repeat(16))), 0);
        assert_eq!(read(&sealed.replace("01", "02")), 0);
    }

    #[test]
    fn an_origin_is_looked_at_where_the_browser_does_not_say_which_site_it_is() {
        let is_ours = |site: Option<&'static str>, own_origin| {
            let mut headers = HeaderMap::new();
            site.into_iter().for_each(|site| drop(headers.insert("sec-fetch-site", site.parse().unwrap())));
            Brought { headers: &headers, from: HERE, secure: true, own_origin }.is_of_this_origin()
        };
        assert!(is_ours(None, true) && is_ours(Some("same-origin"), true));
        assert!(!is_ours(None, false) && !is_ours(Some("cross-site"), true) && !is_ours(Some("same-site"), true));
    }

    #[test]
    fn what_opens_a_session_does_not_show_itself() {
        let handle = SignInHandle { user: UserKey::of("alice"), place: 0, secret: SecretHash::of(b"") };
        let signed = Signed { handle, csrf: "guarded".into(), ends: Timestamp(0) };
        let identity = Identity::user("alice").signed_in(signed);
        assert!(!format!("{identity:?}").contains("guarded"));
    }

    #[test]
    fn a_cookie_is_for_this_host_and_for_no_script() {
        let set = set_cookie("x", 5, true);
        assert_eq!(set, "__Host-orlop-session=x; Path=/; Max-Age=5; HttpOnly; SameSite=Strict; Secure");
        assert_eq!(forget_cookie(false), "orlop-session=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict");
    }
}
