//! How Orlop logs in at another registry.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::header::HeaderValue;
use ring::hmac;
use ring::rand::SystemRandom;

use crate::settings::LoginSetting;
use crate::settings::watched::{Watched, read_text};

/// A login that is sent to a registry or its token server.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// User and password.
    Basic {
        /// The user.
        username: String,
        /// The password.
        password: String,
    },
    /// A token for the registry itself, sent as it is. It is exchanged for no other.
    Bearer(String),
    /// A token for its token server, in the place of a password (OAuth 2.0, RFC 6749, 6: a refresh token).
    Identity(String),
}

/// Secrets stay out of what is printed.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Basic { username, .. } => write!(f, "Basic({username})"),
            Self::Bearer(_) => f.write_str("Bearer"),
            Self::Identity(_) => f.write_str("Identity"),
        }
    }
}

impl Login {
    /// The `Authorization` of a user with a password (RFC 7617); nothing for tokens.
    pub(super) fn basic(&self) -> Option<HeaderValue> {
        let Self::Basic { username, password } = self else { return None };
        secret(&format!("Basic {}", BASE64_STANDARD.encode(format!("{username}:{password}"))))
    }
}

/// The `Authorization` that carries a token (RFC 6750); nothing when the token cannot stand in a header field.
pub(super) fn bearer(token: &str) -> Option<HeaderValue> {
    secret(&format!("Bearer {token}"))
}

fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Where the configured login comes from.
pub(super) enum Source {
    Fixed(Option<Login>),
    File { username: String, password: Arc<Watched<String>> },
}

impl Source {
    /// As the setting has it.
    ///
    /// # Errors
    ///
    /// When the password file cannot be read or has no password.
    pub(super) fn open(setting: &LoginSetting) -> Result<Self, String> {
        Ok(match setting {
            LoginSetting::Anonymous => Self::Fixed(None),
            LoginSetting::Password { username, password } => {
                Self::Fixed(Some(Login::Basic { username: username.clone(), password: password.clone() }))
            }
            LoginSetting::IdentityToken(token) => Self::Fixed(Some(Login::Identity(token.clone()))),
            LoginSetting::PasswordFile { username, file } => {
                let named = file.clone();
                let make = move |files: &[Vec<u8>]| first_line(&named, files.first().map_or(&[][..], Vec::as_slice));
                let password = Watched::open(vec![file.clone()], make)?;
                password.watch();
                Self::File { username: username.clone(), password }
            }
        })
    }

    /// Whether it can be opened, which needs a runtime.
    ///
    /// # Errors
    ///
    /// As when it is opened.
    pub(super) fn check(setting: &LoginSetting) -> Result<(), String> {
        match setting {
            LoginSetting::PasswordFile { file, .. } => first_line(file, &read_text(file)?).map(drop),
            _ => Ok(()),
        }
    }

    /// The login that is in force now.
    pub(super) fn get(&self) -> Option<Login> {
        match self {
            Self::Fixed(login) => login.clone(),
            Self::File { username, password } => {
                Some(Login::Basic { username: username.clone(), password: password.get().as_ref().clone() })
            }
        }
    }
}

fn first_line(path: &Path, bytes: &[u8]) -> Result<String, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| format!("{} is no UTF-8", path.display()))?;
    match text.lines().next() {
        Some(password) if !password.is_empty() => Ok(password.to_owned()),
        _ => Err(format!("{} has no password in its first line", path.display())),
    }
}

/// Tells logins apart without keeping their secrets.
pub(super) struct Fingerprints(hmac::Key);

/// What is kept of a login.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Fingerprint(Vec<u8>);

impl Fingerprints {
    /// With a key that nothing else knows.
    ///
    /// # Errors
    ///
    /// When the system gives no random numbers.
    pub(super) fn new() -> Result<Self, String> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        key.map(Self).map_err(|_| "the system gives no random numbers".into())
    }

    pub(super) fn of(&self, login: &Login) -> Fingerprint {
        let (kind, one, other) = match login {
            Login::Basic { username, password } => ("basic", username.as_str(), password.as_str()),
            Login::Bearer(token) => ("bearer", token.as_str(), ""),
            Login::Identity(token) => ("identity", token.as_str(), ""),
        };
        // No user has a null character in the name: it could not be typed, nor sent.
        Fingerprint(hmac::sign(&self.0, format!("{kind}\0{one}\0{other}").as_bytes()).as_ref().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_written_as_rfc_7617_has_it_and_its_secret_is_not_printed() {
        let login = Login::Basic { username: "Aladdin".into(), password: "open sesame".into() };
        assert_eq!(login.basic().unwrap(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert!(login.basic().unwrap().is_sensitive());
        assert_eq!(format!("{login:?}"), "Basic(Aladdin)");
        assert_eq!(bearer("a b\n"), None);
    }

    #[tokio::test]
    async fn the_password_is_the_first_line_of_a_file() {
        let directory = tempfile::TempDir::new().unwrap();
        let file = directory.path().join("password");
        let source = || Source::open(&LoginSetting::PasswordFile { username: "ci".into(), file: file.clone() });
        assert!(source().is_err());
        std::fs::write(&file, "\n").unwrap();
        assert!(source().is_err_and(|error| error.contains("has no password in its first line")));
        std::fs::write(&file, "secret word\r\nmore").unwrap();
        let login = source().unwrap().get();
        assert_eq!(login, Some(Login::Basic { username: "ci".into(), password: "secret word".into() }));
    }

    #[test]
    fn logins_have_fingerprints_of_their_own() {
        let fingerprints = Fingerprints::new().unwrap();
        let basic = |username: &str, password: &str| {
            fingerprints.of(&Login::Basic { username: username.into(), password: password.into() })
        };
        assert!(basic("a", "b") == basic("a", "b"));
        assert!(basic("a", "b") != basic("ab", ""));
        assert!(fingerprints.of(&Login::Bearer("a".into())) != fingerprints.of(&Login::Identity("a".into())));
        assert!(basic("a", "b") != Fingerprints::new().unwrap().of(&Login::Bearer("a".into())));
    }
}
