//! Whom a rule speaks of.

use serde::Deserialize;

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
