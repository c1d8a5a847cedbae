//! API tokens: what a user gives to programs in the place of the password. Each is for some actions in some repositories,
//! may end by itself, and can be revoked. It never allows more than its user may do.
//!
//! A user has a number of places for tokens, each under a key of its own, so no user fills the records.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ambient::Timestamp;
use crate::caller::{Right, Rule};
use crate::error::Error;
use crate::keys::Key;
use crate::pattern::Pattern;
use crate::secret::{SecretHash, UserKey, is_hex};

/// How many characters the name of a token has at most.
pub const NAME: usize = 100;

/// How many patterns of repositories a token has at most, and how many bytes each.
pub const PATTERNS: (usize, usize) = (32, 255);

/// What the text of a token begins with.
const PREFIX: &str = "orlop_";

/// How much of the hash of the secret is in an id, in characters: enough to tell a token from one that had its place before.
const PART: usize = 6;

/// What a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ApiAction {
    /// To read, and to see in lists.
    Pull,
    /// To upload, and to make and change tags.
    Push,
    /// To delete.
    Delete,
}

impl ApiAction {
    /// Every action.
    pub const ALL: [Self; 3] = [Self::Pull, Self::Push, Self::Delete];

    /// The action as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
        }
    }

    /// The rights that it is made of.
    fn rights(self) -> &'static [Right] {
        match self {
            Self::Pull => &[Right::List, Right::Pull],
            Self::Push => &[Right::Upload, Right::CreateTag, Right::OverwriteTag],
            Self::Delete => &[Right::Delete],
        }
    }
}

/// Which token: whose, at which place, and the beginning of the hash of its secret, which tells it from those that had the
/// place before. 40 hexadecimal digits as text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ApiTokenId {
    pub(crate) user: UserKey,
    pub(crate) place: u8,
    part: String,
}

impl ApiTokenId {
    /// The id of the token of that user, at that place, with that secret.
    pub(crate) fn of(user: UserKey, place: u8, secret: &SecretHash) -> Self {
        Self { user, place, part: secret.hex()[..PART].to_string() }
    }

    /// The token itself as its user gets it, once: with its secret.
    pub fn text(&self, secret: &[u8; ApiTokenShown::SECRET]) -> String {
        ApiTokenShown::text(self.place, secret)
    }

    /// Whether it is a token of the user of that name.
    pub fn is_of(&self, user: &str) -> bool {
        self.user == UserKey::of(user)
    }
}

impl fmt::Display for ApiTokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:02x}{}", self.user, self.place, self.part)
    }
}

/// A text is not the id of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoId;

impl fmt::Display for NoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the id of a token has 40 hexadecimal digits")
    }
}

impl FromStr for ApiTokenId {
    type Err = NoId;

    fn from_str(text: &str) -> Result<Self, NoId> {
        let (user, rest) = text.split_at_checked(UserKey::LENGTH).ok_or(NoId)?;
        let (place, part) = rest.split_at_checked(2).ok_or(NoId)?;
        if part.len() != PART || !is_hex(rest) {
            return Err(NoId);
        }
        let place = u8::from_str_radix(place, 16).map_err(|_| NoId)?;
        Ok(Self { user: UserKey::parse(user).ok_or(NoId)?, place, part: part.into() })
    }
}

impl TryFrom<String> for ApiTokenId {
    type Error = NoId;

    fn try_from(text: String) -> Result<Self, NoId> {
        text.parse()
    }
}

impl From<ApiTokenId> for String {
    fn from(id: ApiTokenId) -> Self {
        id.to_string()
    }
}

/// A token as a client shows it, beside the name of its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiTokenShown {
    /// At which of the user's places it is.
    pub place: u8,
    /// The hash of its secret.
    pub secret: SecretHash,
    /// What whoever has shown the token can show later: see [`proof`](Self::proof).
    pub proof: SecretHash,
}

impl ApiTokenShown {
    /// How many bytes the secret has.
    pub const SECRET: usize = 24;

    /// Reads what [`text`](Self::text) has written; nothing when it was not that.
    pub fn read(text: &str) -> Option<Self> {
        let (place, secret) = text.strip_prefix(PREFIX)?.split_at_checked(2)?;
        if !is_hex(place) || !is_hex(secret) {
            return None;
        }
        let mut bytes = [0; Self::SECRET];
        hex::decode_to_slice(secret, &mut bytes).ok()?;
        let place = u8::from_str_radix(place, 16).ok()?;
        Some(Self { place, secret: SecretHash::of(&bytes), proof: Self::proof(&bytes) })
    }

    /// What proves that somebody has shown the token, and does not tell it: another hash of the secret. The records have a hash
    /// of this one, so whoever reads them can make neither.
    pub fn proof(secret: &[u8; Self::SECRET]) -> SecretHash {
        SecretHash::of(&[b"shown: ", &secret[..]].concat())
    }

    /// The token as its user gets it, once: `orlop_`, its place and the secret in hexadecimal.
    pub fn text(place: u8, secret: &[u8; Self::SECRET]) -> String {
        format!("{PREFIX}{place:02x}{}", hex::encode(secret))
    }
}

/// A token that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewApiToken {
    /// The name of the user.
    pub user: String,
    /// The groups of which whoever vouches for the user says that it is in them.
    pub groups: Vec<String>,
    /// Who vouches for the user: what a host makes of it.
    pub by: String,
    /// What it is called.
    pub name: String,
    /// The repositories that it is for, as patterns.
    pub repositories: Vec<String>,
    /// What it allows there.
    pub actions: Vec<ApiAction>,
    /// When it ends.
    pub expires: Option<Timestamp>,
    /// The hash of the secret.
    pub secret: SecretHash,
    /// The hash of its [proof](ApiTokenShown::proof).
    pub proof: SecretHash,
}

impl NewApiToken {
    /// Whether there can be such a token.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`], with what is wrong.
    pub fn check(&self) -> Result<(), Error> {
        let wrong = |name, expected: String| Err(Error::Parameter { name, expected });
        let length = self.name.chars().count();
        if !(1..=NAME).contains(&length) || self.name.trim().is_empty() || self.name.chars().any(char::is_control) {
            return wrong("name", format!("1 to {NAME} characters, without control characters"));
        }
        let (most, longest) = PATTERNS;
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-/*".contains(c);
        let sound = |text: &String| (1..=longest).contains(&text.len()) && text.chars().all(plain);
        if !(1..=most).contains(&self.repositories.len()) || !self.repositories.iter().all(sound) {
            return wrong(
                "repositories",
                format!(
                    "1 to {most} patterns of repository names, with lower-case letters, digits and . _ - /, where * and ** \
                     stand for any text"
                ),
            );
        }
        if self.actions.is_empty() {
            return wrong("actions", "at least one of pull, push and delete".into());
        }
        Ok(())
    }
}

/// A token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiTokenRecord {
    /// The name of the user.
    pub user: String,
    /// The groups of which whoever vouches for the user has said that it is in them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Who vouches for the user: what a host has made of it.
    pub by: String,
    /// What it is called.
    pub name: String,
    /// The hash of its secret.
    pub secret: SecretHash,
    /// The hash of its [proof](ApiTokenShown::proof).
    pub proof: SecretHash,
    /// The repositories that it is for, as patterns.
    pub repositories: Vec<String>,
    /// What it allows there, in their order, each once.
    pub actions: Vec<ApiAction>,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// When it was last used, to the hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<Timestamp>,
}

impl ApiTokenRecord {
    /// Whether it has ended at that time.
    pub fn has_ended(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// What it allows, as far as its user may do that.
    pub fn rule(&self) -> Rule {
        Rule {
            allow: true,
            rights: self.actions.iter().flat_map(|action| action.rights()).copied().collect(),
            repositories: self.repositories.iter().map(Pattern::new).collect(),
            tags: None,
        }
    }
}

/// A token that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiToken {
    /// Which one.
    pub id: ApiTokenId,
    /// What is known of it.
    pub record: ApiTokenRecord,
}

/// A page of the tokens of all users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiTokenPage {
    /// The tokens.
    pub tokens: Vec<ApiToken>,
    /// What the next page is behind; nothing when this was the last.
    pub after: Option<Key>,
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn what_a_client_shows_reads_as_it_was_written() {
        let secret = [7; ApiTokenShown::SECRET];
        let text = ApiTokenShown::text(99, &secret);
        assert_eq!((text.len(), &text[..8]), (56, "orlop_63"));
        let proof = ApiTokenShown::proof(&secret);
        let hash = SecretHash::of(&secret);
        assert_eq!(ApiTokenShown::read(&text), Some(ApiTokenShown { place: 99, secret: hash, proof }));
        assert!(![hash, hash.again(), proof.again()].contains(&proof), "the records do not have it");
        for wrong in ["", "orlop_", &text[1..], &text.to_uppercase(), &format!("{text}0"), "orlop_é", "secret"] {
            assert_eq!(ApiTokenShown::read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_id_reads_as_it_is_written() {
        let id = ApiTokenId::of(UserKey::of("alice"), 7, &SecretHash::of(b"x"));
        assert_eq!(id.to_string().parse(), Ok(id.clone()));
        assert_eq!(id.to_string().len(), 40);
        assert!(id.is_of("alice") && !id.is_of("bob"));
        for wrong in ["", "x", &id.to_string()[1..], &id.to_string().to_uppercase(), "é"] {
            assert_eq!(wrong.parse::<ApiTokenId>(), Err(NoId), "{wrong}");
        }
    }

    #[test]
    fn what_a_token_may_be_is_bounded() {
        let new = |name: &str, repositories: Vec<String>, actions: &[ApiAction]| NewApiToken {
            user: "alice".into(),
            groups: Vec::new(),
            by: "password".into(),
            name: name.into(),
            repositories,
            actions: actions.into(),
            expires: None,
            secret: SecretHash::of(b""),
            proof: SecretHash::of(b""),
        };
        let all = || vec!["**".to_string()];
        assert_eq!(new("ci", all(), &ApiAction::ALL).check(), Ok(()));
        assert_eq!(new(&"é".repeat(NAME), vec!["a".repeat(PATTERNS.1); PATTERNS.0], &ApiAction::ALL).check(), Ok(()));
        let refused = [
            (new("", all(), &ApiAction::ALL), "name"),
            (new("  ", all(), &ApiAction::ALL), "name"),
            (new("a\nb", all(), &ApiAction::ALL), "name"),
            (new(&"x".repeat(NAME + 1), all(), &ApiAction::ALL), "name"),
            (new("ci", vec![], &ApiAction::ALL), "repositories"),
            (new("ci", vec!["".into()], &ApiAction::ALL), "repositories"),
            (new("ci", vec!["A".into()], &ApiAction::ALL), "repositories"),
            (new("ci", vec!["a".repeat(PATTERNS.1 + 1)], &ApiAction::ALL), "repositories"),
            (new("ci", vec!["a".into(); PATTERNS.0 + 1], &ApiAction::ALL), "repositories"),
            (new("ci", all(), &[]), "actions"),
        ];
        for (token, expected) in refused {
            assert!(matches!(token.check(), Err(Error::Parameter { name, .. }) if name == expected), "{token:?}");
        }
    }
}
