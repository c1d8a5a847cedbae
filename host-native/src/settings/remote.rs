//! Another registry, as it is configured.

use std::fmt;
use std::path::PathBuf;

use url::Url;

use super::redacted::redacted;

/// Another registry: where it is, how to log in there, and what it is trusted with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteSetting {
    /// Scheme, host and port, such as `https://registry.example.com`. Nothing stands behind them.
    pub url: Url,
    /// How to log in.
    pub login: LoginSetting,
    /// Further hosts that may be asked for tokens: `auth.example.com`, or with a port `auth.example.com:8443`. The
    /// registry's own host may always be asked.
    pub realms: Vec<String>,
    /// Further hosts that the registry may redirect to although they have a private address, such as the storage of its
    /// blobs: `storage.example.com`, or with a port `storage.example.com:9000`. The registry's own host and port may have
    /// any address.
    pub redirects: Vec<String>,
    /// Whether it may redirect to all private addresses but link-local ones.
    pub allow_private: bool,
    /// Certificates of authorities to trust beside those of the system, in PEM.
    pub ca: Option<PathBuf>,
}

/// How to log in at a registry.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum LoginSetting {
    /// Without a login.
    #[default]
    Anonymous,
    /// A user, and a file that has the password in its first line. The file is read again when it changes.
    PasswordFile {
        /// The user.
        username: String,
        /// The file.
        file: PathBuf,
    },
    /// A user and a password.
    Password {
        /// The user.
        username: String,
        /// The password.
        password: String,
    },
    /// A token that a token server has given for a login: what `docker login` keeps as `identitytoken`. Token servers
    /// take it in the place of a password.
    IdentityToken(String),
}

/// Passwords and tokens stay out of what is printed.
impl fmt::Debug for LoginSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("Anonymous"),
            Self::PasswordFile { username, file } => write!(f, "PasswordFile({username}, {})", file.display()),
            Self::Password { username, .. } => write!(f, "Password({username})"),
            Self::IdentityToken(_) => f.write_str("IdentityToken"),
        }
    }
}

impl RemoteSetting {
    /// A registry without a login that is trusted with nothing more than what it needs.
    ///
    /// # Errors
    ///
    /// When the text is not `http://` or `https://`, a host, and perhaps a port.
    pub fn new(url: &str) -> Result<Self, String> {
        let shown = redacted(url);
        let wrong = || format!("`{shown}` is not the URL of a registry: write it like https://registry.example.com");
        let url = Url::parse(url).map_err(|_| wrong())?;
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        if !url.username().is_empty() || url.password().is_some() {
            return Err(format!("`{shown}` has a login in it: set `username` and `password-file` in its place"));
        }
        if !bare || !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(wrong());
        }
        Ok(Self {
            url,
            login: LoginSetting::Anonymous,
            realms: Vec::new(),
            redirects: Vec::new(),
            allow_private: false,
            ca: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_a_scheme_a_host_and_a_port() {
        for good in ["https://registry.example.com", "http://127.0.0.1:5000/", "http://[::1]:5000"] {
            assert!(RemoteSetting::new(good).is_ok(), "{good}");
        }
        for wrong in [
            "",
            "registry.example.com",
            "ftp://registry.example.com",
            "https://",
            "https://registry.example.com/v2/",
            "https://user@registry.example.com",
            "https://registry.example.com?x",
            "https://registry.example.com#x",
        ] {
            assert!(RemoteSetting::new(wrong).is_err(), "{wrong}");
        }
        for wrong in ["https://ci:hush@registry.example.com", "https://ci:hush@h/x", "https://ci:hu/sh@h"] {
            let told = RemoteSetting::new(wrong).unwrap_err();
            assert!(!told.contains("hu"), "{told}");
        }
    }

    #[test]
    fn no_password_is_printed() {
        let login = LoginSetting::Password { username: "ci".into(), password: "secret".into() };
        assert_eq!(format!("{login:?}"), "Password(ci)");
        assert_eq!(format!("{:?}", LoginSetting::IdentityToken("secret".into())), "IdentityToken");
    }
}
