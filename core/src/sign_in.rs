//! Sign-ins: sessions of people who use the web page. A session is a record that all hosts of a storage have, and a
//! secret that only the browser has.
//!
//! A user has a few places for sessions, each under a key of its own. So however often somebody signs in, there are no more
//! records than places: who signs in once more takes the place of the session that has rested for longest.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::ambient::Timestamp;
use crate::secret::{SecretHash, UserKey, is_hex};

/// What a browser shows to be known again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignInHandle {
    /// Whose session it is.
    pub user: UserKey,
    /// At which of the places of the user.
    pub place: u8,
    /// The hash of the secret.
    pub secret: SecretHash,
}

impl SignInHandle {
    /// How many bytes the secret has.
    pub const SECRET: usize = 32;

    /// Reads what [`text`](Self::text) has written; nothing when it was not that.
    pub fn read(text: &str) -> Option<Self> {
        let (user, rest) = text.split_at_checked(UserKey::LENGTH)?;
        let (place, secret) = rest.split_at_checked(2)?;
        if !is_hex(rest) {
            return None;
        }
        let (mut at, mut bytes) = ([0], [0; Self::SECRET]);
        hex::decode_to_slice(place, &mut at).ok()?;
        hex::decode_to_slice(secret, &mut bytes).ok()?;
        Some(Self { user: UserKey::parse(user)?, place: at[0], secret: SecretHash::of(&bytes) })
    }

    /// What the browser keeps: the place of the session and the secret, in hexadecimal.
    pub fn text(user: &UserKey, place: u8, secret: &[u8; Self::SECRET]) -> String {
        format!("{user}{place:02x}{}", hex::encode(secret))
    }
}

/// A session that is to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSignIn {
    /// The name of the user.
    pub user: String,
    /// The groups of which whoever vouches for the user says that it is in them.
    pub groups: Vec<String>,
    /// Who vouches for the user: what a host makes of it.
    pub by: String,
    /// What the host knows of the user now, as far as the session ends when that changes.
    pub mark: Option<String>,
    /// The hash of the secret.
    pub secret: SecretHash,
}

/// A session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignInRecord {
    /// The name of the user.
    pub user: String,
    /// The groups of which whoever vouches for the user says that it is in them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Who vouches for the user: what a host has made of it.
    pub by: String,
    /// What the host knew of the user, as far as the session ends when that changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<String>,
    /// The hash of the secret that the browser shows.
    pub secret: SecretHash,
    /// When it began.
    pub began: Timestamp,
    /// When it was last used, as far as that is written down.
    pub touched: Timestamp,
}

/// A session that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignIn {
    /// What is known of it.
    pub record: SignInRecord,
    /// When it ends if it is not used again.
    pub ends: Timestamp,
    /// Whether it is to be written down that it is used ([`Registry::renew_sign_in`](crate::Registry::renew_sign_in)).
    pub renew: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_browser_shows_reads_as_it_was_written() {
        let (user, secret) = (UserKey::of("alice"), [7; 32]);
        let text = SignInHandle::text(&user, 31, &secret);
        let read = SignInHandle::read(&text);
        assert_eq!(read, Some(SignInHandle { user, place: 31, secret: SecretHash::of(&secret) }));
        for wrong in ["", "x", &text[1..], &text.to_uppercase(), &format!("{text}0"), &text.replace('0', "é")] {
            assert_eq!(SignInHandle::read(wrong), None, "{wrong}");
        }
    }
}
