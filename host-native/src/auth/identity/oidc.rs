//! Identity tokens of providers that an administrator trusts (OpenID Connect Core 1.0), in the place of a password: a job
//! of GitHub Actions, GitLab CI or Kubernetes logs in as the user `oidc` with the token that it has anyway.
//!
//! What a token says is believed once a key of its issuer has signed it, it is meant for this registry, and its time is
//! now. Then its claims are held against what the settings ask for, and names are made of them.

mod claims;
pub(crate) mod code;
mod source;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};
use tokio::sync::Semaphore;

use self::claims::{Claims, cut};
use self::source::Source;
use super::jwt::Jwt;
use super::{CERTIFICATE, Identity, Problem, seconds};
use crate::settings::{OidcSetting, oidc};

/// The name under which clients log in with a token. What may stand behind a colon is the name of the provider.
pub(crate) const USER: &str = "oidc";

/// What stands before the name of a provider, where it is said who vouches for a user.
const BY: &str = "oidc:";

/// The longest token, in bytes.
const LONGEST: usize = 20 << 10;

/// The providers whose tokens are taken.
#[derive(Default)]
pub(super) struct Providers(Vec<Provider>);

struct Provider {
    setting: OidcSetting,
    source: Source,
    /// How many people may be signed in there at once.
    room: Semaphore,
}

/// Whether a name is that of a user who logs in otherwise.
type Taken<'t> = dyn Fn(&str) -> bool + Send + Sync + 't;

/// Why a token is refused.
struct Refused {
    problem: Problem,
    /// What the log says.
    reason: String,
}

impl Providers {
    /// As the settings have them. What `before` knows of their keys stays known.
    pub(super) fn of(settings: &[OidcSetting], before: &Self) -> Result<Self, String> {
        oidc::check_together(settings)?;
        let provider = |setting: &OidcSetting| {
            let known = before.0.iter().find(|known| known.setting.name == setting.name);
            let source = Source::open(setting, known.map(|known| &known.source))?;
            code::check(setting)?;
            Ok(Provider { setting: setting.clone(), source, room: Semaphore::new(code::AT_ONCE) })
        };
        settings.iter().map(provider).collect::<Result<_, String>>().map(Self)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names of the providers, in the order of the settings.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|provider| provider.setting.name.as_str())
    }

    pub(super) fn watch(&self) {
        self.0.iter().for_each(|provider| provider.source.watch());
    }

    /// Whether a token may be of that user.
    pub(super) fn may_name(&self, user: &str) -> bool {
        self.0.iter().any(|provider| provider.setting.may_name(user))
    }

    /// The names of users that are fixed, for providers whose names are not those of others.
    pub(super) fn fixed_names(&self) -> impl Iterator<Item = (&str, &str)> {
        let own = self.0.iter().filter(|provider| !provider.setting.same_names);
        own.flat_map(|provider| {
            let fixed = provider.setting.users().filter(|template| template.is_fixed());
            fixed.map(|template| (provider.setting.name.as_str(), template.beginning()))
        })
    }

    /// A text that changes when whoever vouches for users does so in another way: None when it is gone.
    pub(super) fn line(&self, by: &str) -> Option<String> {
        let name = by.strip_prefix(BY)?;
        let provider = self.0.iter().find(|provider| provider.setting.name == name)?;
        let OidcSetting { issuer, audience, user, groups, claims, allow, same_names, client_id, .. } =
            &provider.setting;
        let client = client_id.as_ref().map(|client| format!(" {client:?}")).unwrap_or_default();
        Some(format!("{issuer:?} {audience:?} {user:?} {groups:?} {claims:?} {allow:?} {same_names}{client}"))
    }

    /// Whom a token logs in. Before it may stand the name of a provider and a colon. `is_taken` says whether a name is
    /// that of a user who logs in otherwise.
    ///
    /// # Errors
    ///
    /// [`Problem::Token`] with a sentence for whoever sent it; [`Problem::Unreachable`] when it cannot be checked now. The
    /// log says more, and never has the token.
    pub(super) async fn check(
        &self,
        text: &str,
        from: IpAddr,
        is_taken: impl Fn(&str) -> bool + Send + Sync,
    ) -> Result<Identity, Problem> {
        let checked = self.identify(text, &is_taken).await;
        checked.map_err(|Refused { problem, reason }| {
            tracing::info!(target: "orlop::auth", "an identity token from {from} is refused: {reason}");
            problem
        })
    }

    async fn identify(&self, text: &str, is_taken: &Taken<'_>) -> Result<Identity, Refused> {
        let (named, text) = match text.split_once(':') {
            Some((name, token)) => (Some(name), token),
            None => (None, text),
        };
        let (token, claims) = read(text)?;
        let provider = self.provider(named, &claims)?;
        provider.check_meant(&claims, &provider.setting.audience)?;
        provider.check_time(&claims, now())?;
        provider.check_signed(&token).await?;
        provider.identity(&claims, is_taken)
    }

    /// Whose token it is, as it says itself.
    fn provider(&self, named: Option<&str>, claims: &Claims) -> Result<&Provider, Refused> {
        let issuer = claims.text("iss").unwrap_or_default();
        let of_name = |provider: &&Provider| named.is_none_or(|name| provider.setting.name == name);
        if let Some(name) = named
            && !self.0.iter().any(|provider| of_name(&provider))
        {
            let name = cut(name);
            return Err(refused(
                format!("there is no identity provider `{name}` here"),
                format!("there is no [[oidc]] with the name {name:?}"),
            ));
        }
        let mut of_issuer =
            self.0.iter().filter(of_name).filter(|provider| provider.setting.issuer == issuer).peekable();
        let Some(first) = of_issuer.peek().copied() else {
            let issuer = cut(issuer);
            let told = match named {
                Some(name) => format!("the identity token is not of the provider `{name}`"),
                None => "the identity token is of an issuer that is not known here".into(),
            };
            return Err(refused(told, format!("its issuer is {issuer:?}, and there is no [[oidc]] with that one")));
        };
        // One issuer may be there several times, for several audiences.
        let is_meant = |provider: &&Provider| provider.check_meant(claims, &provider.setting.audience).is_ok();
        Ok(of_issuer.find(is_meant).unwrap_or(first))
    }
}

impl Provider {
    /// Whether a key of the provider has signed a token.
    async fn check_signed(&self, token: &Jwt<'_>) -> Result<(), Refused> {
        match self.source.has_signed(token).await {
            Ok(true) => Ok(()),
            Ok(false) => {
                let told = "the identity token is not signed by a key of its issuer".into();
                let (algorithm, key) = (cut(&token.algorithm), token.key.as_deref().map(cut));
                Err(refused(told, format!("no key of its issuer has signed it ({algorithm:?}, key {key:?})")))
            }
            Err(reason) => {
                let name = &self.setting.name;
                let told =
                    format!("the identity provider {name} cannot be reached, so its tokens cannot be checked now");
                Err(Refused { problem: Problem::Unreachable(told), reason })
            }
        }
    }

    /// Whether a token is meant for this registry (OpenID Connect Core 1.0, section 3.1.3.7, 3 to 5).
    #[expect(clippy::unused_self, reason = "it is said of a provider's token")]
    fn check_meant(&self, claims: &Claims, expected: &[String]) -> Result<(), Refused> {
        if expected.is_empty() {
            let told = "tokens of this identity provider log in nobody: its users sign in to the web page";
            return Err(refused(told.into(), "there is no `audience`".into()));
        }
        let audiences: Vec<&str> = match claims.get("aud") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let ours = |audience: &str| expected.iter().any(|expected| expected == audience);
        if !audiences.iter().any(|audience| ours(audience)) {
            let expected = expected.join("` or `");
            return Err(refused(
                format!("the identity token is for another audience: get one for `{expected}`"),
                format!(
                    "its audience is {audiences:?}, and `{expected}` is expected",
                    audiences = cut(&audiences.join(", "))
                ),
            ));
        }
        let party = claims.text("azp");
        if audiences.len() > 1 && !party.is_some_and(ours) {
            return Err(refused(
                "the identity token is for several audiences, and not given to this one: get one for this registry alone"
                    .into(),
                format!("it has {} audiences, and its authorized party (azp) is {:?}", audiences.len(), party.map(cut)),
            ));
        }
        Ok(())
    }

    /// Whether a token is valid at that time, in seconds since 1970 (section 3.1.3.7, 9).
    fn check_time(&self, claims: &Claims, now: f64) -> Result<(), Refused> {
        let leeway = self.setting.leeway().as_secs_f64();
        let Some(end) = claims.time("exp").filter(|end| end.is_finite()) else {
            return Err(refused("the identity token has no end (exp)".into(), "it has no number in `exp`".into()));
        };
        if end + leeway <= now {
            return Err(refused(
                "the identity token has expired: get a new one, and log in with it".into(),
                format!("it ended at {}, and the clock of this machine says {}", date(end), date(now)),
            ));
        }
        for claim in ["nbf", "iat"] {
            let Some(value) = claims.get(claim) else { continue };
            let Some(first) = value.as_f64() else {
                let told = "the identity token cannot be read".into();
                return Err(refused(told, format!("its `{claim}` is no number")));
            };
            if first > now + leeway {
                return Err(refused(
                    "the identity token is not valid yet: the clock of the provider or of this registry is wrong"
                        .into(),
                    format!(
                        "it begins ({claim}) at {}, and the clock of this machine says {}: if that one is wrong, set it",
                        date(first),
                        date(now)
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Whom a token logs in that is right.
    fn identity(&self, claims: &Claims, is_taken: &Taken<'_>) -> Result<Identity, Refused> {
        let OidcSetting { name, user, groups, allow, same_names, .. } = &self.setting;
        let of = format!("it is of {:?}", cut(claims.text("sub").unwrap_or_default()));
        let not_allowed = |reason: String| {
            let told =
                format!("the claims of the identity token are not those that the provider `{name}` may log in with");
            refused(told, format!("{of}, and {reason}"))
        };
        if let Some(claim) = self.setting.claims.as_ref().and_then(|claims_asked| claims.unmet(claims_asked)) {
            return Err(not_allowed(format!("its {} is not as `claims` asks for", told(claims, claim))));
        }
        let allowed = allow.iter().find(|allow| claims.unmet(&allow.claims).is_none());
        if !allow.is_empty() && allowed.is_none() {
            let unmet = allow.iter().enumerate().filter_map(|(place, allow)| {
                Some(format!("allow {} by its {}", place + 1, told(claims, claims.unmet(&allow.claims)?)))
            });
            let unmet = unmet.collect::<Vec<_>>().join(", ");
            return Err(not_allowed(format!("no `allow` of oidc {name} fits: {unmet}")));
        }
        let template = allowed.and_then(|allow| allow.user.as_ref()).or(user.as_ref());
        let made = template.ok_or_else(|| "there is no `user`".to_owned()).and_then(|template| claims.name(template));
        let made = made.map_err(|reason| {
            let told = "no user name can be made of the claims of the identity token".into();
            refused(told, format!("{of}, and makes no name: {reason}"))
        })?;
        // Names that are shared are those of the password file, which have no colon: one with a colon would be a certificate's
        // or another provider's.
        let others = if *same_names { made.contains(':') } else { is_taken(&made) };
        if others || made.starts_with(CERTIFICATE) {
            return Err(refused(
                "the identity token gives the name of another user".into(),
                format!("{of}, and makes the name {made:?}, which is that of a user with a password or a certificate"),
            ));
        }
        let templates = groups.iter().chain(allowed.into_iter().flat_map(|allow| &allow.groups));
        let mut groups: Vec<String> = templates.flat_map(|template| claims.names(template)).collect();
        groups.retain(|group| !same_names || !group.contains(':'));
        groups.sort_unstable();
        groups.dedup();
        let end = claims.time("exp").unwrap_or_default() + self.setting.leeway().as_secs_f64();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is in the future")]
        let end = end as u64;
        Ok(Identity::user(made).vouched_by(format!("{BY}{name}")).with_groups(groups).until(end))
    }
}

/// Reads a token. Nothing that it says is true yet.
fn read(text: &str) -> Result<(Jwt<'_>, Claims), Refused> {
    let wrong = |reason: &str| {
        let told = "the password of the user `oidc` is to be an identity token (a JSON Web Token)".into();
        refused(told, reason.into())
    };
    if text.len() > LONGEST {
        return Err(wrong("it is too long"));
    }
    let token = Jwt::parse(text).ok_or_else(|| wrong("it is no signed JSON Web Token"))?;
    let claims: Map<String, Value> = token.all_claims().map_err(|_| wrong("its claims are no object of JSON"))?;
    Ok((token, Claims(claims)))
}

fn refused(told: String, reason: String) -> Refused {
    Refused { problem: Problem::Token(told), reason }
}

/// A claim as the log shows it.
fn told(claims: &Claims, claim: &str) -> String {
    match claims.get(claim) {
        Some(value) => format!("`{claim}` {}", cut(&value.to_string())),
        None => format!("`{claim}`, which it does not have,"),
    }
}

#[expect(clippy::cast_precision_loss, reason = "there are no such times")]
fn now() -> f64 {
    seconds() as f64
}

/// A time as the log shows it.
fn date(seconds: f64) -> String {
    // Behind the year 9999 there are no dates.
    match Duration::try_from_secs_f64(seconds).ok().filter(|since| since.as_secs() < 253_402_300_800) {
        Some(since) => humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + since).to_string(),
        None => format!("{seconds} s after 1970"),
    }
}
