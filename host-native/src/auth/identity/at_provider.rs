//! Signing in to the web page at an identity provider (SPEC AC16 to AC20).
//!
//! What is under way is nowhere but in a cookie of the browser that has begun it, under a seal: state, nonce and verifier are
//! made of it by the key of the storage. So any host of a storage takes the browser back, and nobody else's browser does.

use axum::http::header;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use orlop_core::error::Error;
use orlop_core::secret::SecretHash;
use ring::digest;
use ring::rand::{SecureRandom, SystemRandom};

use super::oidc::code::{Ended, Marks, Returned, Stopped};
use super::sign_in::{Begun, Keeper};
use super::{Brought, Identities, seconds};

/// The cookie of a sign-in under way. Its prefix keeps it from being set by another host of the same domain, which could
/// otherwise sign a browser in as somebody else; with it, the path has to be `/`.
const SECURE: &str = "__Host-orlop-sign-in";
const PLAIN: &str = "orlop-sign-in";

/// What it is sealed as.
const SEALED: &str = "sign-in at a provider";

/// How long somebody may take at the provider, in seconds.
const LASTS: u64 = 600;

/// The longest path to come back to, in bytes: with it a cookie has to stay below 4096.
const LONGEST: usize = 2048;

/// Where somebody is who has not said where to come back to.
const CONSOLE: &str = "/console/";

/// A browser that is sent to a provider.
pub(crate) struct Sent {
    pub(crate) location: String,
    pub(crate) cookie: String,
}

/// Somebody who is back and signed in.
pub(crate) struct Arrived {
    pub(crate) begun: Begun,
    pub(crate) to: String,
}

/// A sign-in that is under way.
struct UnderWay {
    /// The whole of it, of which its marks are made.
    text: String,
    to: String,
    /// The cookie of the session that the browser had before.
    before: String,
}

/// Whether a path is one of the console, and nothing that a browser takes for another place.
pub(crate) fn is_of_console(to: &str) -> bool {
    let plain = |b: u8| b.is_ascii_graphic() && !b"\\\"<>".contains(&b);
    let path = to.split(['?', '#']).next().unwrap_or_default();
    to.len() <= LONGEST && to.bytes().all(plain) && path.starts_with(CONSOLE) && !path.contains("//")
}

impl UnderWay {
    /// A new one.
    fn begin(name: &str, to: &str, before: &str) -> Result<Self, Stopped> {
        let mut seed = [0; 32];
        let chance = SystemRandom::new().fill(&mut seed);
        chance.map_err(|_| (Ended::Failed, "the system has no random numbers".to_owned()))?;
        let encoded = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let text = format!("{name}.{}.{}.{}.{before}", seconds(), encoded(&seed), encoded(to.as_bytes()));
        Ok(Self { text, to: to.into(), before: before.into() })
    }

    /// The one of that cookie, if it is for that provider and not over.
    fn read(keeper: &Keeper, name: &str, cookie: &str) -> Option<Self> {
        let text = keeper.unsealed(SEALED, cookie)?;
        let mut parts = text.split('.');
        let (of, began, _seed, to, before) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let began: u64 = began.parse().ok()?;
        let now = seconds();
        // The clocks of hosts may differ a little.
        if of != name || now > began + LASTS || began > now + LASTS {
            return None;
        }
        let to = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(to).ok()?).ok()?;
        Some(Self { text: text.into(), to, before: before.into() })
    }

    fn marks(&self, keeper: &Keeper, redirect: &str) -> Marks {
        let verifier = keeper.derived("verifier", &self.text);
        let challenge = BASE64_URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()));
        let (state, nonce) = (keeper.derived("state", &self.text), keeper.derived("nonce", &self.text));
        Marks { redirect: redirect.into(), state, nonce, verifier, challenge }
    }
}

fn set_cookie(value: &str, seconds: u64, secure: bool) -> String {
    let (name, flag) = if secure { (SECURE, "; Secure") } else { (PLAIN, "") };
    format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{flag}")
}

/// What `Set-Cookie` says so that a browser forgets what is over.
pub(crate) fn forget_cookie(secure: bool) -> String {
    set_cookie("", 0, secure)
}

impl Identities {
    /// The names and titles of the providers at which people sign in to the web page.
    pub(crate) fn providers_of_people(&self) -> impl Iterator<Item = (&str, &str)> {
        self.providers.of_people()
    }

    /// Begins to sign somebody in at the provider of that name, who is to come back to `redirect`, and in the end to the path
    /// `to` of the console.
    ///
    /// # Errors
    ///
    /// [`Ended::Unknown`] and [`Ended::Provider`].
    pub(crate) async fn begin_at_provider(
        &self,
        name: &str,
        to: Option<&str>,
        redirect: &str,
        brought: &Brought<'_>,
    ) -> Result<Sent, Stopped> {
        let keeper = self.keeper.as_ref().ok_or_else(nowhere)?;
        let before = self.sign_in_cookie(brought).unwrap_or_default();
        let under_way = UnderWay::begin(name, to.unwrap_or(CONSOLE), before)?;
        let location = self.providers.entrance(name, &under_way.marks(keeper, redirect)).await?;
        let cookie = set_cookie(&keeper.sealed(SEALED, &under_way.text), LASTS, brought.secure);
        Ok(Sent { location: location.into(), cookie })
    }

    /// Signs somebody in whom the provider has sent back with that.
    ///
    /// # Errors
    ///
    /// All of [`Ended`], with what the log says; and whether the browser is to forget what it had begun, since it is over.
    pub(crate) async fn finish_at_provider(
        &self,
        name: &str,
        returned: &Returned,
        redirect: &str,
        brought: &Brought<'_>,
    ) -> Result<Arrived, (Stopped, bool)> {
        let keeper = self.keeper.as_ref().ok_or_else(|| (nowhere(), false))?;
        if !self.providers_of_people().any(|(known, _)| known == name) {
            return Err(((Ended::Unknown, "there is no such provider".into()), false));
        }
        let expired = |reason: &str| ((Ended::Expired, reason.to_owned()), false);
        let under_way = self
            .under_way(keeper, name, brought)
            .ok_or_else(|| expired("the browser has not begun it, or has taken too long"))?;
        let marks = under_way.marks(keeper, redirect);
        // Hashes are compared, so a clock tells nothing of the text.
        let is = |state: &String| SecretHash::of(state.as_bytes()) == SecretHash::of(marks.state.as_bytes());
        if !returned.state.as_ref().is_some_and(is) {
            return Err(expired("what the provider sends back is of another sign-in (state)"));
        }
        let over = |stopped: Stopped| (stopped, true);
        if returned.code.is_some() && !self.tries.count(brought.from) {
            return Err(over((Ended::Busy, "it tries too often".into())));
        }
        let is_taken = |name: &str| self.has_user(name);
        let vouched = self.providers.signed_in(name, returned, &marks, &is_taken).await.map_err(over)?;
        let begun = self.begin_sign_in(vouched, brought.secure).await.map_err(|error| match error {
            Error::Denied(reason) => over((Ended::NotAllowed, reason)),
            error => over((Ended::Failed, format!("the session cannot be kept: {error:?}"))),
        })?;
        // The session before is not left open: who signs in again does so in its place.
        let before = self.sign_in_of(&under_way.before).into_iter().chain(self.sign_ins_of(brought));
        for before in before {
            if let Err(error) = self.end_sign_in(&before).await {
                tracing::warn!("the session before cannot be ended: {error:?}");
            }
        }
        Ok(Arrived { begun, to: under_way.to })
    }

    /// What the browser has begun.
    fn under_way(&self, keeper: &Keeper, name: &str, brought: &Brought<'_>) -> Option<UnderWay> {
        let cookie = if brought.secure { SECURE } else { PLAIN };
        let fields = brought.headers.get_all(header::COOKIE).into_iter().filter_map(|field| field.to_str().ok());
        let pairs = fields.flat_map(|field| field.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let mut ours = pairs.filter(|(known, _)| *known == cookie).take(2);
        ours.find_map(|(_, value)| UnderWay::read(keeper, name, value))
    }
}

fn nowhere() -> Stopped {
    (Ended::Failed, "there is nowhere to keep sessions".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_to_another_place() {
        for right in ["/console/", "/console/r/a/b?q=%2F&sort=x", "/console/r/a/-/i/sha256:ab#x", "/console/r/a?to=//x"]
        {
            assert!(is_of_console(right), "{right}");
        }
        for wrong in [
            "",
            "/",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "https://evil.example",
            "https:evil.example",
            "javascript:alert(1)",
            "data:text/html,x",
            "console/",
            "/console",
            "/consolex/",
            "/console//evil.example",
            "/console/\\evil",
            "/console/\r\nSet-Cookie: a=b",
            "/console/\t",
            "/console/ x",
            "/console/é",
            "/v2/",
            "/api/v1/session/oidc/corp",
            "@evil.example/console/",
            "\u{0}/console/",
        ] {
            assert!(!is_of_console(wrong), "{wrong:?}");
        }
        assert!(!is_of_console(&format!("/console/{}", "x".repeat(LONGEST))));
    }

    #[test]
    fn the_longest_cookie_is_one_that_browsers_take() {
        let begun = UnderWay::begin(&"n".repeat(32), &"x".repeat(LONGEST), &"b".repeat(120)).ok().unwrap();
        assert!(set_cookie(&format!("{}{}", begun.text, "s".repeat(16)), LASTS, true).len() < 4096);
    }
}
