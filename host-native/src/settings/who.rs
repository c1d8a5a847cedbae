//! Whom a rule speaks of.

use serde::Deserialize;

use crate::auth::identity::Identity;

/// Some of those who send requests.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum Who {
    Anybody,
    Anonymous,
    Authenticated,
    User(String),
    Group(String),
    Certificate(String),
}

impl TryFrom<String> for Who {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "anybody" => return Ok(Self::Anybody),
            "anonymous" => return Ok(Self::Anonymous),
            "authenticated" => return Ok(Self::Authenticated),
            _ => {}
        }
        match text.split_once(':').filter(|(_, name)| !name.is_empty()) {
            Some(("user", name)) => Ok(Self::User(name.into())),
            Some(("group", name)) => Ok(Self::Group(name.into())),
            Some(("certificate", name)) => Ok(Self::Certificate(name.into())),
            _ => Err(format!(
                "`{text}` is nobody; who is anybody, anonymous, authenticated, user:NAME, group:NAME, certificate:NAME"
            )),
        }
    }
}

impl Who {
    /// Whether somebody is one of these.
    pub(crate) fn is(&self, identity: &Identity, of_group: &dyn Fn(&str, &str) -> bool) -> bool {
        match self {
            Self::Anybody => true,
            Self::Anonymous => identity.is_anonymous(),
            Self::Authenticated => !identity.is_anonymous(),
            Self::User(name) => identity.user_name() == Some(name.as_str()),
            Self::Group(name) => identity.user_name().is_some_and(|user| of_group(name, user)),
            Self::Certificate(name) => identity.certificate().iter().any(|given| given == name),
        }
    }
}
