//! Who is asking: a user with a password, somebody with a signed token, a client certificate, or nobody that is known.

pub(crate) mod api_token;
pub(crate) mod at_provider;
mod basic;
mod challenge;
mod hashing;
mod htpasswd;
mod jwt;
mod keys;
mod ldap;
pub(crate) mod oidc;
mod passwords;
mod scope;
mod session;
pub(crate) mod sign_in;
mod token;
mod tries;
pub mod users;

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use orlop_core::caller::Rule;
use orlop_core::http::Response;
use orlop_core::record::SessionKey;
use orlop_core::{Config, Registry};

use self::api_token::Shown;
use self::ldap::Directory;
use self::oidc::Providers;
pub(crate) use self::oidc::USER as TOKEN_USER;
use self::passwords::Passwords;
pub use self::session::new_key;
use self::session::{Bearer, Sessions};
use self::sign_in::{Keeper, PASSWORD, Signed, Vouched};
use self::token::Tokens;
use self::tries::Tries;
use crate::auth::problem::Problem;
use crate::auth::refusal::unauthorized;
use crate::settings::Auth;
use crate::storage::Host;

/// What the names of those begin with who showed a certificate. A name in a password file has no colon.
const CERTIFICATE: &str = "certificate:";

/// Somebody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    user: Option<String>,
    certificate: Arc<[String]>,
    granted: Option<Arc<[Rule]>>,
    /// Has been told who it is, be it nobody.
    in_session: bool,
    /// The groups that whoever vouches for the user says that it is in.
    groups: Arc<[String]>,
    /// Who vouches for the user, beside certificates and tokens of others.
    by: Option<Arc<str>>,
    /// The session of the web page by which it is known.
    signed: Option<Arc<Signed>>,
    /// When the login ends for which somebody vouches, in seconds since 1970.
    until: Option<u64>,
    /// The API token that it has shown.
    api_token: Option<Arc<Shown>>,
}

impl Identity {
    /// Nobody that is known.
    pub fn anonymous() -> Self {
        Self::default()
    }

    /// The user of that name.
    pub fn user(name: impl Into<String>) -> Self {
        Self { user: Some(name.into()), ..Self::default() }
    }

    /// Somebody, on a connection with a certificate of these names.
    pub fn with_certificate(self, names: impl Into<Arc<[String]>>) -> Self {
        Self { certificate: names.into(), ..self }
    }

    /// The same, in these groups too.
    pub(crate) fn with_groups(self, groups: impl Into<Arc<[String]>>) -> Self {
        Self { groups: groups.into(), ..self }
    }

    /// The same, for whom that vouches.
    pub(crate) fn vouched_by(self, by: impl Into<Arc<str>>) -> Self {
        Self { by: Some(by.into()), ..self }
    }

    /// The same, whose login ends then, in seconds since 1970.
    pub(crate) fn until(self, end: u64) -> Self {
        Self { until: Some(end), ..self }
    }

    /// Who vouches for the user, if that is not the password file.
    fn voucher(&self) -> Option<&str> {
        self.by.as_deref().filter(|by| *by != PASSWORD)
    }

    /// The same, known by this session of the web page.
    fn signed_in(self, signed: Signed) -> Self {
        Self { signed: Some(Arc::new(signed)), ..self }
    }

    /// The groups that came with it, beside those of the settings.
    pub(crate) fn groups(&self) -> &[String] {
        &self.groups
    }

    /// As whom a session of the web page knows it from now on; nothing when nobody vouches for a user, or for a short time
    /// only, as an identity token does.
    pub(crate) fn vouched(&self) -> Option<Vouched> {
        if self.is_shown_by_token() {
            return None;
        }
        let (user, by) = (self.user.clone()?, self.by.as_ref()?.to_string());
        Some(Vouched { user, groups: self.groups.to_vec(), by })
    }

    /// Whether a token says who it is: an API token, one that a token server has signed, or an identity token.
    pub(crate) fn is_shown_by_token(&self) -> bool {
        self.granted.is_some() || self.until.is_some()
    }

    /// The session of the web page by which it is known.
    pub(crate) fn signed(&self) -> Option<&Signed> {
        self.signed.as_deref()
    }

    /// The same, with an API token, which grants this as far as the rules allow it.
    fn with_api_token(self, shown: Shown, rule: Rule) -> Self {
        Self { api_token: Some(Arc::new(shown)), granted: Some([rule].into()), ..self }
    }

    /// The same, with a token of ours that was had for the API token and asked for no more than this.
    fn asked_for(self, asked: &[Rule]) -> Self {
        let allowed = self.granted.iter().flat_map(|granted| granted.iter());
        let both = allowed.flat_map(|allowed| api_token::within(asked, allowed)).collect();
        Self { granted: Some(both), in_session: true, ..self }
    }

    /// The API token that it has shown.
    pub(crate) fn api_token(&self) -> Option<&Shown> {
        self.api_token.as_deref()
    }

    /// Whether it has shown a token that another one may do better than.
    pub(crate) fn may_have_better(&self) -> bool {
        self.granted.is_some() && (self.in_session || self.api_token.is_none())
    }

    /// Whoever has a token of ours, be it nobody's, and what that was asked for.
    fn in_session(user: Option<String>, asked: Vec<Rule>) -> Self {
        Self { user, granted: Some(asked.into()), in_session: true, ..Self::default() }
    }

    /// Whether it has a token of ours: what that grants, it grants as far as the rules allow it.
    pub(crate) fn is_in_session(&self) -> bool {
        self.in_session
    }

    /// Whether it was asked who it is and has answered, be it that it is nobody.
    pub(crate) fn has_answered(&self) -> bool {
        self.in_session || self.granted.is_some() || !self.is_anonymous()
    }

    /// Somebody with a token that grants this. The name may be empty.
    fn with_token(name: String, granted: Vec<Rule>) -> Self {
        let user = Some(name).filter(|name| !name.is_empty());
        Self { user, granted: Some(granted.into()), ..Self::default() }
    }

    /// Whether nothing is known of whoever it is.
    pub fn is_anonymous(&self) -> bool {
        self.user.is_none() && self.certificate.is_empty()
    }

    /// The name of the user.
    pub fn user_name(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The names in the certificate.
    pub fn certificate(&self) -> &[String] {
        &self.certificate
    }

    /// What a token grants, if there is one.
    pub fn granted(&self) -> Option<&[Rule]> {
        self.granted.as_deref()
    }

    /// The name under which it is logged and limited: that of a user, `certificate:NAME`, or empty for nobody. No user has
    /// a name like that of a certificate.
    pub fn name(&self) -> String {
        if self.is_anonymous() { String::new() } else { self.to_string() }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.user, self.certificate.first()) {
            (Some(user), _) => f.write_str(user),
            (None, Some(name)) => write!(f, "{CERTIFICATE}{name}"),
            (None, None) => f.write_str("anonymous"),
        }
    }
}

/// Finds out who is asking.
pub(crate) struct Identities {
    realm: String,
    passwords: Option<Passwords>,
    tokens: Option<Tokens>,
    sessions: Option<Sessions>,
    providers: Providers,
    directory: Option<Directory>,
    /// How often each network has tried a password.
    tries: Arc<Tries>,
    /// What tokens of our own are signed with, once the records are open.
    session_key: Option<SessionKey>,
    /// Where sessions of the web page are, once the records are open.
    keeper: Option<Keeper>,
}

/// A request as far as it says who sent it.
#[derive(Clone, Copy)]
pub(crate) struct Brought<'r> {
    pub(crate) headers: &'r HeaderMap,
    /// From where it comes.
    pub(crate) from: IpAddr,
    /// Whether its client came by TLS.
    pub(crate) secure: bool,
    /// Whether `Origin`, if it is there, is that of this server.
    pub(crate) own_origin: bool,
}

impl Identities {
    /// As the settings have it.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, or the settings for tokens are not whole.
    pub(crate) fn new(settings: &Auth) -> Result<Self, String> {
        Self::nobody().again(settings, &Registry::new(Config::default()))
    }

    /// As other settings have it. Passwords that are remembered, wrong ones that were counted, and tokens that were given
    /// out stay what they are.
    ///
    /// # Errors
    ///
    /// As for new ones.
    pub(crate) fn again(&self, settings: &Auth, registry: &Registry) -> Result<Self, String> {
        let open = |path: &PathBuf| Passwords::open(path, self.passwords.as_ref(), &self.tries);
        let passwords = settings.htpasswd.as_ref().map(open).transpose()?;
        let tokens = Tokens::of(settings, self.tokens.as_ref())?;
        let providers = Providers::of(&settings.oidc, &self.providers)?;
        let directory = Directory::of(&settings.ldap, self.directory.as_ref())?;
        if let Some((provider, name)) =
            providers.fixed_names().find(|(_, name)| directory.is_some() && !name.contains(':'))
        {
            return Err(format!(
                "oidc {provider} gives the name `{name}`, which a user of the directory (LDAP) may have: choose another one, \
                 such as `{provider}:{name}`"
            ));
        }
        let taken = |name: &str| passwords.as_ref().is_some_and(|passwords| passwords.has(name));
        if let Some((provider, name)) = providers.fixed_names().find(|(_, name)| taken(name)) {
            return Err(format!(
                "oidc {provider} gives the name `{name}`, which a user of the password file has: choose another one, such \
                 as `{provider}:{name}`"
            ));
        }
        let session_key = self.session_key.clone();
        let begin = |url: &String| Sessions::new(url, session_key.as_ref());
        let sessions = settings.token_url.as_ref().map(begin).transpose()?;
        let nobody = passwords.is_none() && providers.is_empty() && directory.is_none();
        if sessions.is_some() && (nobody || tokens.is_some()) {
            return Err("auth-token-url needs auth-htpasswd, ldap-url or an [[oidc]], and no other token server".into());
        }
        let keeper = self.keeper.as_ref().map(|keeper| keeper.again(registry.clone()));
        let (realm, tries) = (settings.realm.clone(), self.tries.clone());
        Ok(Self { realm, passwords, tokens, sessions, providers, directory, tries, session_key, keeper })
    }

    /// The same, with the key by which tokens of our own are signed and known again, and with the records.
    ///
    /// # Errors
    ///
    /// As for new ones.
    pub(crate) fn keeping(self, host: Arc<Host>, registry: Registry, key: SessionKey) -> Result<Self, String> {
        let begin = |sessions: &Sessions| Sessions::new(sessions.url(), Some(&key));
        let sessions = self.sessions.as_ref().map(begin).transpose()?;
        let keeper = Some(Keeper::new(host, registry, &key));
        Ok(Self { sessions, session_key: Some(key), keeper, ..self })
    }

    /// Nobody can say who they are.
    pub(crate) fn nobody() -> Self {
        Self {
            realm: String::new(),
            passwords: None,
            tokens: None,
            sessions: None,
            providers: Providers::default(),
            directory: None,
            tries: Arc::new(Tries::new()),
            session_key: None,
            keeper: None,
        }
    }

    /// Goes on looking at the files.
    pub(crate) fn watch(&self) {
        self.passwords.iter().for_each(Passwords::watch);
        self.tokens.iter().for_each(Tokens::watch);
        self.providers.watch();
    }

    /// Whether clients can say who they are.
    pub(crate) fn can_ask(&self) -> bool {
        self.checks_passwords() || self.tokens.is_some()
    }

    /// Whether clients can say who they are with a name and a password, or what stands for one.
    fn checks_passwords(&self) -> bool {
        self.has_passwords() || !self.providers.is_empty()
    }

    /// Whether there is a user of that name; also when that cannot be known.
    pub(crate) fn may_be(&self, user: &str) -> bool {
        let in_file = || match &self.passwords {
            Some(passwords) => passwords.has(user),
            None => self.providers.is_empty(),
        };
        self.tokens.is_some() || self.directory.is_some() || self.providers.may_name(user) || in_file()
    }

    /// Whether the password file has a user of that name.
    pub(crate) fn has_user(&self, user: &str) -> bool {
        self.passwords.as_ref().is_some_and(|passwords| passwords.has(user))
    }

    /// Whether there is a password file.
    pub(crate) fn has_password_file(&self) -> bool {
        self.passwords.is_some()
    }

    /// Whether a directory (LDAP) says who is a user.
    pub(crate) fn has_directory(&self) -> bool {
        self.directory.is_some()
    }

    /// The users of the password file, in no order.
    pub(crate) fn users(&self) -> Vec<String> {
        self.passwords.as_ref().map(Passwords::names).unwrap_or_default()
    }

    /// The names of the identity providers.
    pub(crate) fn providers(&self) -> Vec<String> {
        self.providers.names().map(String::from).collect()
    }

    /// Whether people can sign in with a password.
    pub(crate) fn has_passwords(&self) -> bool {
        self.passwords.is_some() || self.directory.is_some()
    }

    /// Who sent a request.
    pub(crate) async fn identify(&self, brought: &Brought<'_>) -> Result<Identity, Problem> {
        if let Some(identity) = self.by_cookie(brought).await? {
            return Ok(identity);
        }
        match self.credentials(brought.headers)? {
            None => Ok(Identity::anonymous()),
            Some(Credentials::Basic(pair)) => self.check_basic(pair, brought.from).await,
            Some(Credentials::Bearer(token)) => match (&self.tokens, &self.sessions) {
                (Some(tokens), _) => tokens.check(token),
                (None, Some(sessions)) => match sessions.check(token, |user, by| self.line(user, by))? {
                    Bearer::Own(identity) => Ok(identity),
                    Bearer::OfApiToken(shown, asked) => self.within_api_token(shown, asked).await,
                },
                (None, None) => Err(Problem::Wrong),
            },
        }
    }

    /// Who sent a request to a mirror that its client takes for another registry, and may send the login of that one: one
    /// that is none here counts as no login.
    ///
    /// # Errors
    ///
    /// When it cannot be said now whether it is one here: then it must not be taken for one of another registry.
    pub(crate) async fn recognize(&self, brought: &Brought<'_>) -> Result<Identity, Problem> {
        if let Some(identity) = self.by_cookie(brought).await? {
            return Ok(identity);
        }
        match self.credentials(brought.headers) {
            Ok(Some(Credentials::Basic(pair))) => self.recognize_basic(pair, brought.from).await,
            Ok(Some(Credentials::Bearer(_))) => Ok(self.identify(brought).await.unwrap_or_default()),
            _ => Ok(Identity::anonymous()),
        }
    }

    /// The same for a name and a password. A token of ours is for here alone, whatever it is worth: it is refused, and never
    /// taken for a login of another registry.
    async fn recognize_basic(&self, (name, password): (String, String), from: IpAddr) -> Result<Identity, Problem> {
        if self.is_by_token(&name) {
            return self.by_token(&password, from).await;
        }
        if self.is_api_token(&password) {
            return self.by_api_token(&name, &password).await?.ok_or(Problem::Wrong);
        }
        if let Some(directory) = self.directory_of(&name) {
            let found = directory.recognize((&name, &password), from, |name| self.has_user(name)).await?;
            return Ok(found.unwrap_or_default());
        }
        let Some(passwords) = &self.passwords else { return Ok(Identity::anonymous()) };
        let right = passwords.recognize(&name, &password, from).await?;
        Ok(if right { Identity::user(name).vouched_by(PASSWORD) } else { Identity::anonymous() })
    }

    /// Whether what a request brings to say who sent it is for this registry alone: an identity token or an API token.
    pub(crate) fn is_for_us(&self, headers: &HeaderMap) -> bool {
        match self.credentials(headers) {
            Ok(Some(Credentials::Basic((name, password)))) => self.is_by_token(&name) || self.is_api_token(&password),
            _ => false,
        }
    }

    /// Whether a request is for a token of ours.
    pub(crate) fn is_for_a_token(&self, head: &Parts) -> bool {
        self.sessions.as_ref().is_some_and(|sessions| sessions.is_asked(head))
    }

    /// Who asks for a token: a user with a password, or nobody. A token is not to be had for a token, or it would never
    /// end.
    pub(crate) async fn log_in(&self, headers: &HeaderMap, from: IpAddr) -> Result<Identity, Problem> {
        match self.credentials(headers)? {
            None => Ok(Identity::anonymous()),
            Some(Credentials::Basic(pair)) => self.check_basic(pair, from).await,
            Some(Credentials::Bearer(_)) => Err(Problem::Wrong),
        }
    }

    /// The same where the client speaks to a mirror that it takes for another registry: a login that is none of ours is
    /// nobody's. A token counts as none here, and neither does a cookie.
    pub(crate) async fn log_in_at_root(&self, headers: &HeaderMap, from: IpAddr) -> Identity {
        match self.credentials(headers) {
            Ok(Some(Credentials::Basic(pair))) => self.recognize_basic(pair, from).await.unwrap_or_default(),
            _ => Identity::anonymous(),
        }
    }

    /// The answer to a request for a token, which `identity` sent.
    pub(crate) fn token(&self, head: &Parts, identity: &Identity) -> Option<Response> {
        if identity.is_in_session() {
            return Some(unauthorized(vec![self.basic()], Some(&Problem::Wrong)));
        }
        let line = identity.user_name().and_then(|user| self.line(user, identity.voucher())).unwrap_or_default();
        Some(self.sessions.as_ref()?.answer(head, identity, &line))
    }

    /// A text that changes when a user is gone or has another password, or when whoever vouches for it is trusted with
    /// something else. None if the user, or who vouches for it, is gone.
    fn line(&self, user: &str, by: Option<&str>) -> Option<String> {
        match by {
            None | Some(PASSWORD) => self.passwords.as_ref()?.line(user),
            Some(ldap::BY) => self.directory.as_ref().map(Directory::line),
            Some(by) => self.providers.line(by),
        }
    }

    /// What a request brings to say who sent it.
    fn credentials<'h>(&self, headers: &'h HeaderMap) -> Result<Option<Credentials<'h>>, Problem> {
        if !self.can_ask() {
            return Ok(None);
        }
        let mut fields = headers.get_all(header::AUTHORIZATION).into_iter();
        let Some(field) = fields.next() else { return Ok(None) };
        let text = field.to_str().map_err(|_| Problem::Malformed)?;
        let (scheme, rest) = text.split_once(' ').ok_or(Problem::Malformed)?;
        if fields.next().is_some() {
            return Err(Problem::Malformed);
        }
        if scheme.eq_ignore_ascii_case("basic") {
            let (name, password) = basic::parse(rest).ok_or(Problem::Malformed)?;
            // Some clients answer a challenge also when they have nothing to say.
            let empty = name.is_empty() && password.is_empty();
            return Ok((!empty).then_some(Credentials::Basic((name, password))));
        }
        if scheme.eq_ignore_ascii_case("bearer") {
            return Ok(Some(Credentials::Bearer(rest.trim())));
        }
        Err(Problem::Malformed)
    }

    /// Who has that name and that password.
    pub(crate) async fn check_password(
        &self,
        (name, password): (String, String),
        from: IpAddr,
    ) -> Result<Identity, Problem> {
        if self.is_by_token(&name) {
            return self.by_token(&password, from).await;
        }
        if let Some(directory) = self.directory_of(&name) {
            let pair = (name.as_str(), password.as_str());
            return directory.check(pair, from, &self.tries, |name| self.has_user(name)).await;
        }
        let passwords = self.passwords.as_ref().ok_or(Problem::Wrong)?;
        passwords.check(&name, &password, from).await.map(|()| Identity::user(name).vouched_by(PASSWORD))
    }
}

impl Identities {
    /// Whether what stands in the place of a password is an identity token, as the name says.
    fn is_by_token(&self, name: &str) -> bool {
        name == oidc::USER && !self.providers.is_empty()
    }

    /// The directory that says whether a user has that password: the password file comes first.
    fn directory_of(&self, name: &str) -> Option<&Directory> {
        self.directory.as_ref().filter(|_| !self.has_user(name))
    }

    async fn by_token(&self, token: &str, from: IpAddr) -> Result<Identity, Problem> {
        self.providers.check(token, from, |name| self.has_user(name)).await
    }
}

/// What a request brings to say who sent it.
enum Credentials<'h> {
    /// A name and a password.
    Basic((String, String)),
    /// A token.
    Bearer(&'h str),
}

/// Seconds since 1970.
fn seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
