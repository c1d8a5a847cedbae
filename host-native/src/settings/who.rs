//! Whom a rule names.

use std::fmt;

use serde::Deserialize;

/// Some of the clients.
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

const KINDS: &str = "there are anybody, anonymous, authenticated, user:NAME, group:NAME and certificate:NAME";

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
            _ if text.contains([':', ' ']) || text.is_empty() => {
                Err(format!("`{text}` is not valid in `who`; {KINDS}"))
            }
            _ => Err(format!("`{text}` is not valid in `who`; for a user write user:{text}; {KINDS}")),
        }
    }
}

/// As it is written.
impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anybody => f.write_str("anybody"),
            Self::Anonymous => f.write_str("anonymous"),
            Self::Authenticated => f.write_str("authenticated"),
            Self::User(name) => write!(f, "user:{name}"),
            Self::Group(name) => write!(f, "group:{name}"),
            Self::Certificate(name) => write!(f, "certificate:{name}"),
        }
    }
}
