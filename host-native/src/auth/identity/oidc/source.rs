//! The keys of a provider: found by discovery (OpenID Connect Discovery 1.0, section 4), kept, renewed, and used on while
//! the provider cannot be reached.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

use crate::auth::identity::jwt::Jwt;
use crate::auth::identity::keys::{self, Key, KeySet};
use crate::remote::Documents;
use crate::settings::OidcSetting;
use crate::settings::watched::{Watched, read_text_within};

/// How often keys are fetched again.
const RENEWED: Duration = Duration::from_secs(15 * 60);

/// How long keys are used that cannot be renewed. No provider that is down for longer signs tokens.
const STALE: Duration = Duration::from_secs(24 * 3600);

/// How often they are fetched at most because a token names a key that is not among them.
const UNKNOWN: Duration = Duration::from_secs(60);

/// How long a provider is left alone that could not be reached, while no keys of it are there, and while some are.
const RETRIED: Duration = Duration::from_secs(5);
const RETRIED_LATER: Duration = Duration::from_secs(60);

/// The largest document that a provider has of itself, and the largest set of keys, in bytes.
const DOCUMENT: usize = 128 << 10;
const KEYS: usize = 1 << 20;

/// The longest token that a provider is asked with, in bytes.
const TOKEN: u64 = 64 << 10;

/// What a provider says of itself.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Discovered {
    issuer: String,
    jwks_uri: String,
    pub(super) authorization_endpoint: Option<String>,
    pub(super) token_endpoint: Option<String>,
    pub(super) token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

/// What is known of a provider.
pub(super) struct Known {
    keys: Vec<Key>,
    passed_over: Vec<String>,
    said: Discovered,
    since: Instant,
}

/// Where keys come from.
pub(super) struct Source {
    name: String,
    from: From,
}

enum From {
    File(Arc<Watched<KeySet>>),
    Provider(Arc<Provider>),
}

struct Provider {
    name: String,
    issuer: String,
    url: Url,
    hosts: Vec<String>,
    token_file: Option<PathBuf>,
    documents: Documents,
    state: Arc<State>,
    watching: AtomicBool,
}

/// What outlives a reload.
#[derive(Default)]
struct State {
    known: RwLock<Option<Arc<Known>>>,
    /// When the provider was asked last, and why it gave nothing. Whoever holds it asks.
    asked: Mutex<Option<(Instant, Result<(), String>)>>,
}

impl Source {
    /// Where a provider has its keys. What `before` knows of them, this knows too, if it is the same provider.
    pub(super) fn open(setting: &OidcSetting, before: Option<&Self>) -> Result<Self, String> {
        let name = format!("oidc {}", setting.name);
        let from = match &setting.keys {
            Some(path) => From::File(file(&name, path.clone(), before)?),
            None => From::Provider(Arc::new(Provider::open(setting, before)?)),
        };
        Ok(Self { name, from })
    }

    /// Goes on fetching keys, or looking at their file.
    pub(super) fn watch(&self) {
        match &self.from {
            From::File(keys) => keys.watch(),
            From::Provider(provider) => provider.watch(),
        }
    }

    /// Whether a key of the provider has signed a token.
    ///
    /// # Errors
    ///
    /// When the keys are not there and cannot be fetched now: with why.
    pub(super) async fn has_signed(&self, token: &Jwt<'_>) -> Result<bool, String> {
        match &self.from {
            From::File(keys) => Ok(keys.get().keys.iter().any(|key| key.has_signed(token))),
            From::Provider(provider) => {
                let known = provider.known().await?;
                if known.keys.iter().any(|key| key.has_signed(token)) {
                    return Ok(true);
                }
                if has_named(&known.keys, token) {
                    return Ok(false);
                }
                let renewed = provider.renewed(&known).await;
                Ok(renewed.is_some_and(|known| known.keys.iter().any(|key| key.has_signed(token))))
            }
        }
    }

    /// What the provider says of itself, and by what it is asked.
    ///
    /// # Errors
    ///
    /// When it cannot be asked now: with why.
    pub(super) async fn said(&self) -> Result<(Discovered, &Documents), String> {
        let provider = self.provider().ok_or("its keys are in a file, and it is not asked")?;
        Ok((provider.known().await?.said.clone(), &provider.documents))
    }

    fn provider(&self) -> Option<&Arc<Provider>> {
        match &self.from {
            From::Provider(provider) => Some(provider),
            From::File(_) => None,
        }
    }
}

/// Whether the key that a token names is there: if it has not signed it, no other has. A key without a name says nothing of
/// that, for it hides none that is new.
fn has_named(keys: &[Key], token: &Jwt<'_>) -> bool {
    keys.iter().any(|key| key.is_named_by(token))
}

fn file(name: &str, path: PathBuf, before: Option<&Source>) -> Result<Arc<Watched<KeySet>>, String> {
    if let Some(Source { from: From::File(keys), .. }) = before
        && keys.is_of(&[&path])
    {
        keys.read_again()?;
        return Ok(keys.clone());
    }
    let (name, shown) = (name.to_owned(), path.display().to_string());
    Watched::open(vec![path], move |files| {
        let set = keys::parse(&files[0]).map_err(|reason| format!("{name}: {shown}: {reason}"))?;
        tell(&name, &set.passed_over, set.keys.len());
        Ok(set)
    })
}

/// Tells which keys cannot be used, and when none can.
fn tell(name: &str, passed_over: &[String], usable: usize) {
    passed_over.iter().for_each(|told| tracing::info!("{name}: {told}"));
    if usable == 0 {
        tracing::error!("{name}: no key can be used, so every token is refused; {}", keys::SUPPORTED);
    }
}

impl Provider {
    fn open(setting: &OidcSetting, before: Option<&Source>) -> Result<Self, String> {
        let url = setting.url()?;
        let named = |reason| format!("oidc {}: {reason}", setting.name);
        let documents = Documents::open(&url, &setting.hosts, setting.ca.as_deref()).map_err(named)?;
        let before = before.and_then(Source::provider).filter(|before| before.issuer == setting.issuer);
        let provider = Self {
            name: format!("oidc {}", setting.name),
            issuer: setting.issuer.clone(),
            url,
            hosts: setting.hosts.clone(),
            token_file: setting.token_file.clone(),
            documents,
            state: before.map(|before| before.state.clone()).unwrap_or_default(),
            watching: AtomicBool::new(false),
        };
        provider.token()?;
        Ok(provider)
    }

    /// The token that the provider is asked with. Its file is read each time, for such tokens are short-lived.
    fn token(&self) -> Result<Option<String>, String> {
        let Some(path) = &self.token_file else { return Ok(None) };
        let bytes = read_text_within(path, TOKEN).map_err(|reason| format!("{}: {reason}", self.name))?;
        let text = String::from_utf8(bytes).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        text.map(Some).ok_or_else(|| format!("{}: {} has no token in it", self.name, path.display()))
    }

    /// Renews what is known from time to time, as long as the provider is in use.
    fn watch(self: &Arc<Self>) {
        if self.watching.swap(true, Ordering::Relaxed) {
            return;
        }
        let provider = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                let Some(provider) = provider.upgrade() else { return };
                let pause = provider.renew_in_time().await;
                drop(provider);
                tokio::time::sleep(pause).await;
            }
        });
    }

    /// Renews what is due to be renewed, and says when to look again.
    async fn renew_in_time(&self) -> Duration {
        let mut asked = self.state.asked.lock().await;
        let age = self.kept().map(|known| known.since.elapsed());
        if let Some(age) = age.filter(|age| *age < RENEWED) {
            return RENEWED - age;
        }
        match self.fetch(&mut asked).await {
            Ok(_) => RENEWED,
            Err(_) if age.is_some() => RETRIED_LATER,
            Err(_) => RETRIED,
        }
    }

    fn kept(&self) -> Option<Arc<Known>> {
        self.state.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is known of the provider, also when it was to be renewed and could not be.
    async fn known(&self) -> Result<Arc<Known>, String> {
        let fresh = |known: &Arc<Known>| known.since.elapsed() < STALE;
        if let Some(known) = self.kept().filter(fresh) {
            return Ok(known);
        }
        let mut asked = self.state.asked.lock().await;
        // Somebody else has asked meanwhile, or a moment ago.
        if let Some(known) = self.kept().filter(fresh) {
            return Ok(known);
        }
        match &*asked {
            Some((at, Err(reason))) if at.elapsed() < RETRIED => Err(reason.clone()),
            _ => self.fetch(&mut asked).await,
        }
    }

    /// What is known after it was renewed because of a key that was not known, if it may be renewed again.
    async fn renewed(&self, known: &Arc<Known>) -> Option<Arc<Known>> {
        let mut asked = self.state.asked.lock().await;
        if let Some(other) = self.kept().filter(|kept| !Arc::ptr_eq(kept, known)) {
            return Some(other);
        }
        match &*asked {
            Some((at, _)) if at.elapsed() < UNKNOWN => None,
            _ => self.fetch(&mut asked).await.ok(),
        }
    }

    /// Asks the provider. What is known before stays known when it gives nothing.
    async fn fetch(&self, asked: &mut Option<(Instant, Result<(), String>)>) -> Result<Arc<Known>, String> {
        let failed = |asked: &Option<(Instant, Result<(), String>)>| matches!(asked, Some((_, Err(_))));
        let before = failed(asked);
        let fetched = self.ask().await;
        *asked = Some((Instant::now(), fetched.as_ref().map(|_| ()).map_err(String::clone)));
        let known = match fetched {
            Ok(known) => Arc::new(known),
            Err(reason) => {
                let kept = match self.kept() {
                    Some(_) => "the keys that were fetched before are used on, for a day at most",
                    None => "until then no token of it can be checked",
                };
                // Each time would fill the log.
                match before {
                    true => tracing::debug!("{}: {reason}", self.name),
                    false => tracing::warn!("{}: {reason}; {kept}", self.name),
                }
                return Err(reason);
            }
        };
        let old = self.state.known.write().unwrap_or_else(PoisonError::into_inner).replace(known.clone());
        if before || old.is_none() {
            tracing::info!("{}: {} keys of {} are known", self.name, known.keys.len(), self.issuer);
        }
        if old.is_none_or(|old| old.passed_over != known.passed_over || known.keys.is_empty()) {
            tell(&self.name, &known.passed_over, known.keys.len());
        }
        Ok(known)
    }

    async fn ask(&self) -> Result<Known, String> {
        let token = self.token()?;
        let token = token.as_deref();
        let place = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let place = Url::parse(&place).map_err(|error| error.to_string())?;
        let document = self.documents.get(&place, token, DOCUMENT).await.map_err(|failure| failure.to_string())?;
        let wrong = |reason: String| format!("what {place} says cannot be used: {reason}");
        let found: Discovered = serde_json::from_slice(&document).map_err(|error| wrong(error.to_string()))?;
        // OpenID Connect Discovery 1.0, section 4.3.
        if found.issuer != self.issuer {
            let issuer = super::claims::cut(&found.issuer);
            return Err(wrong(format!("it is of the issuer {issuer:?}, and `issuer` is {:?}", self.issuer)));
        }
        let keys = Url::parse(&found.jwks_uri).map_err(|error| wrong(format!("jwks_uri: {error}")))?;
        let token = token.filter(|_| Documents::is_of(&keys, &self.url, &self.hosts));
        let set = self.documents.get(&keys, token, KEYS).await.map_err(|failure| failure.to_string())?;
        let KeySet { keys, passed_over } = keys::of_set(&set).map_err(|reason| format!("{keys}: {reason}"))?;
        Ok(Known { keys, passed_over, said: found, since: Instant::now() })
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{KeyPair, PKCS_ED25519};
    use serde_json::json;

    use super::*;
    use crate::auth::identity::token::tests::{by_ed25519, jwk, with_header};

    /// SPEC AC7.
    #[test]
    fn a_key_without_a_name_hides_no_new_one() {
        let pairs = [(); 2].map(|()| KeyPair::generate_for(&PKCS_ED25519).unwrap());
        let set = json!({ "keys": [jwk(&pairs[0], json!({ "kid": "old" })), jwk(&pairs[1], json!({}))] });
        let KeySet { keys, .. } = keys::of_set(set.to_string().as_bytes()).unwrap();
        let sign = by_ed25519(KeyPair::generate_for(&PKCS_ED25519).unwrap());
        for (header, expected) in [
            (json!({ "alg": "EdDSA", "kid": "old" }), true),
            (json!({ "alg": "EdDSA", "kid": "new" }), false),
            (json!({ "alg": "EdDSA" }), false),
        ] {
            let token = with_header(&header, &sign, &json!({}));
            assert_eq!(has_named(&keys, &Jwt::parse(&token).unwrap()), expected, "{header}");
        }
    }
}
