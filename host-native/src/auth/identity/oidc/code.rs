//! People who sign in to the web page at a provider: the authorization code flow with PKCE (OpenID Connect Core 1.0, section
//! 3.1; RFC 7636). The provider sends the browser back with a code, for which it gives this server an identity token.

use axum::http::Uri;
use serde::Deserialize;
use serde_json::from_slice;
use url::{Url, form_urlencoded};

use super::source::Discovered;
use super::{Problem, Provider, Providers, Refused, Taken, now, read};
use crate::auth::identity::sign_in::Vouched;
use crate::remote::{Documents, Failure};
use crate::settings::OidcSetting;
use crate::settings::watched::read_text_within;

/// How many codes are exchanged at a provider at once.
pub(super) const AT_ONCE: usize = 16;

/// The longest secret of a client, and the longest answer with a token, in bytes.
const SECRET: u64 = 4 << 10;
const ANSWER: usize = 128 << 10;

/// Why somebody is not signed in. The browser is told the code of it alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// There is no such provider, or nobody signs in there.
    Unknown,
    /// The person, or the provider, has said no.
    Denied,
    /// It took too long, or began in another browser.
    Expired,
    /// The provider cannot be asked, or does not answer as it should.
    Provider,
    /// The provider says who it is, and the settings or this registry do not let that one in.
    NotAllowed,
    /// Too many sign in at once, or one too often.
    Busy,
    /// The provider does not take the code, or what it says is wrong.
    Failed,
}

impl Ended {
    /// As the page is told of it.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Provider => "provider",
            Self::NotAllowed => "not-allowed",
            Self::Busy => "busy",
            Self::Failed => "failed",
        }
    }
}

/// That, with what the log says.
pub(crate) type Stopped = (Ended, String);

/// What a sign-in is known by at the provider, and where the browser is sent back.
pub(in crate::auth::identity) struct Marks {
    pub(in crate::auth::identity) redirect: String,
    pub(in crate::auth::identity) state: String,
    pub(in crate::auth::identity) nonce: String,
    /// Who has this may have the token for the code.
    pub(in crate::auth::identity) verifier: String,
    /// What is shown of it before.
    pub(in crate::auth::identity) challenge: String,
}

/// With what the provider has sent the browser back (RFC 6749, section 4.1.2; RFC 9207).
#[derive(Default)]
pub(crate) struct Returned {
    pub(crate) state: Option<String>,
    pub(crate) code: Option<String>,
    pub(crate) error: Option<String>,
    pub(crate) issuer: Option<String>,
}

impl Returned {
    /// As the target of the request says; of several of one name, none counts.
    pub(crate) fn of(uri: &Uri) -> Self {
        let pairs = || form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        let get = |name: &str| {
            let mut values = pairs().filter(|(key, _)| key == name).map(|(_, value)| value.into_owned());
            values.next().filter(|value| !value.is_empty() && values.next().is_none())
        };
        Self { state: get("state"), code: get("code"), error: get("error"), issuer: get("iss") }
    }

    /// Where a browser wants to come back to in the end, as the target of its first request says.
    pub(crate) fn to_of(uri: &Uri) -> Option<String> {
        let mut pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        pairs.find(|(key, _)| key == "to").map(|(_, to)| to.into_owned())
    }
}

/// What a provider gives for a code.
#[derive(Deserialize)]
struct Given {
    id_token: Option<String>,
}

/// Whether what is named for signing in is there.
pub(super) fn check(setting: &OidcSetting) -> Result<(), String> {
    secret(setting).map(drop)
}

/// The secret by which the provider knows this registry. Its file is read each time.
fn secret(setting: &OidcSetting) -> Result<Option<String>, String> {
    let Some(path) = &setting.client_secret_file else { return Ok(None) };
    let bytes = read_text_within(path, SECRET).map_err(|reason| format!("oidc {}: {reason}", setting.name))?;
    let text = String::from_utf8(bytes).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    text.map(Some).ok_or_else(|| format!("oidc {}: {} has no secret in it", setting.name, path.display()))
}

impl Providers {
    /// The names and titles of those at which people sign in.
    pub(in crate::auth::identity) fn of_people(&self) -> impl Iterator<Item = (&str, &str)> {
        let settings = self.0.iter().map(|provider| &provider.setting);
        settings.filter(|setting| setting.client_id.is_some()).map(|setting| (setting.name.as_str(), setting.title()))
    }

    fn of_name(&self, name: &str) -> Result<(&Provider, &str), Stopped> {
        let found = self.0.iter().find(|provider| provider.setting.name == name);
        let found = found.and_then(|provider| Some((provider, provider.setting.client_id.as_deref()?)));
        found.ok_or_else(|| (Ended::Unknown, "there is no such provider".into()))
    }

    /// Where a browser is sent to sign in.
    pub(in crate::auth::identity) async fn entrance(&self, name: &str, marks: &Marks) -> Result<Url, Stopped> {
        let (provider, client) = self.of_name(name)?;
        let (said, _) = provider.said().await?;
        let mut url = provider.endpoint("authorization_endpoint", said.authorization_endpoint.as_deref())?;
        url.set_fragment(None);
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", client)
            .append_pair("redirect_uri", &marks.redirect)
            .append_pair("scope", &provider.setting.scope())
            .append_pair("state", &marks.state)
            .append_pair("nonce", &marks.nonce)
            .append_pair("code_challenge", &marks.challenge)
            .append_pair("code_challenge_method", "S256");
        Ok(url)
    }

    /// Who has signed in, of whom the provider has sent the browser back with that.
    pub(in crate::auth::identity) async fn signed_in(
        &self,
        name: &str,
        returned: &Returned,
        marks: &Marks,
        is_taken: &Taken<'_>,
    ) -> Result<Vouched, Stopped> {
        let (provider, client) = self.of_name(name)?;
        let setting = &provider.setting;
        if let Some(issuer) = returned.issuer.as_ref().filter(|issuer| **issuer != setting.issuer) {
            return Err((Ended::Failed, format!("it comes back from the issuer {:?}", super::cut(issuer))));
        }
        if let Some(error) = &returned.error {
            let ended = match error.as_str() {
                "access_denied" => Ended::Denied,
                "server_error" | "temporarily_unavailable" => Ended::Provider,
                _ => Ended::Failed,
            };
            return Err((ended, format!("the provider says {:?}", super::cut(error))));
        }
        let code = returned.code.as_deref().ok_or_else(|| (Ended::Failed, "it comes back without a code".into()))?;
        let Ok(_permit) = provider.room.try_acquire() else {
            return Err((Ended::Busy, format!("{AT_ONCE} others are being signed in there")));
        };
        let (said, documents) = provider.said().await?;
        let text = provider.exchange(client, &said, documents, code, marks).await?;
        let (token, claims) = read(&text).map_err(failed)?;
        if claims.text("iss") != Some(setting.issuer.as_str()) {
            let issuer = super::cut(claims.text("iss").unwrap_or_default());
            return Err((Ended::Failed, format!("the token is of the issuer {issuer:?}")));
        }
        provider.check_meant(&claims, &[client.to_owned()]).map_err(failed)?;
        if claims.get("azp").is_some() && claims.text("azp") != Some(client) {
            return Err((Ended::Failed, "the token was given to another client (azp)".into()));
        }
        provider.check_time(&claims, now()).map_err(failed)?;
        provider.check_signed(&token).await.map_err(failed)?;
        if claims.text("nonce") != Some(marks.nonce.as_str()) {
            return Err((Ended::Failed, "the token is of another sign-in (nonce)".into()));
        }
        let identity = provider.identity(&claims, is_taken);
        let identity = identity.map_err(|Refused { reason, .. }| (Ended::NotAllowed, reason))?;
        let user = identity.user_name().unwrap_or_default().to_owned();
        let by = identity.voucher().unwrap_or_default().to_owned();
        Ok(Vouched { user, groups: identity.groups().to_vec(), by })
    }
}

impl Provider {
    async fn said(&self) -> Result<(Discovered, &Documents), Stopped> {
        self.source.said().await.map_err(|reason| (Ended::Provider, reason))
    }

    /// An address that the provider says, which is not to be less encrypted than its issuer.
    fn endpoint(&self, field: &str, text: Option<&str>) -> Result<Url, Stopped> {
        let url = text.and_then(|text| Url::parse(text).ok());
        let encrypted =
            |url: &Url| url.scheme() == "https" || url.scheme() == "http" && self.setting.issuer.starts_with("http:");
        let url = url.filter(|url| encrypted(url) && url.has_host());
        url.ok_or_else(|| (Ended::Provider, format!("what the provider says has no `{field}` that can be used")))
    }

    /// The identity token for a code.
    async fn exchange(
        &self,
        client: &str,
        said: &Discovered,
        documents: &Documents,
        code: &str,
        marks: &Marks,
    ) -> Result<String, Stopped> {
        let url = self.endpoint("token_endpoint", said.token_endpoint.as_deref())?;
        let secret = secret(&self.setting).map_err(|reason| (Ended::Failed, reason))?;
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", marks.redirect.as_str()),
            ("code_verifier", marks.verifier.as_str()),
        ];
        let methods = said.token_endpoint_auth_methods_supported.as_deref();
        // OpenID Connect Discovery 1.0, section 3: without a list it is the first of these.
        let takes = |method: &str| methods.is_none_or(|methods| methods.iter().any(|known| known == method));
        let mut login = None;
        match &secret {
            Some(secret) if takes("client_secret_basic") => {
                // RFC 6749, section 2.3.1.
                let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
                login = Some((encoded(client), encoded(secret)));
            }
            Some(secret) if takes("client_secret_post") => {
                form.extend([("client_id", client), ("client_secret", secret.as_str())]);
            }
            Some(_) => {
                let told = "the provider takes a secret in no way that is known here (client_secret_basic, client_secret_post)";
                return Err((Ended::Failed, told.into()));
            }
            None => form.push(("client_id", client)),
        }
        let answer = documents.post(&url, login, &form, ANSWER).await.map_err(|failure| {
            let ended = if matches!(failure, Failure::Unusable(_)) { Ended::Failed } else { Ended::Provider };
            // A provider may repeat what it was sent.
            let hidden = [Some(code), secret.as_deref(), Some(&marks.verifier)];
            let told = hidden.into_iter().flatten().fold(failure.to_string(), |told, hidden| told.replace(hidden, "…"));
            (ended, told)
        })?;
        let given: Given = from_slice(&answer)
            .map_err(|error| (Ended::Provider, format!("what {url} answers to a code is not as expected: {error}")))?;
        given.id_token.ok_or_else(|| (Ended::Provider, format!("{url} gives no identity token (id_token) for a code")))
    }
}

/// A token that a provider gave, and that is not right.
fn failed(Refused { problem, reason }: Refused) -> Stopped {
    match problem {
        Problem::Unreachable(_) => (Ended::Provider, reason),
        _ => (Ended::Failed, reason),
    }
}
