//! Secrets that clients bring, as far as they are stored: by their hashes. What a client shows is 256 or 192 bits of
//! chance, so a plain hash cannot be turned back: who reads these records opens neither a session nor an API token by them.
//! (What hosts sign with the [session key](crate::record::SessionKey), which is among the records too, is another matter.)

use alloc::string::{String, ToString};
use core::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The SHA-256 of a secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// The hash of these bytes.
    pub fn of(secret: &[u8]) -> Self {
        Self(Sha256::digest(secret).into())
    }

    /// The hash of the hash.
    #[must_use]
    pub fn again(&self) -> Self {
        Self::of(&self.0)
    }

    /// The hash as text, in hexadecimal.
    pub(crate) fn hex(&self) -> String {
        hex::encode(self.0)
    }
}

impl From<SecretHash> for String {
    fn from(hash: SecretHash) -> Self {
        hash.hex()
    }
}

impl TryFrom<String> for SecretHash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut hash = [0; 32];
        hex::decode_to_slice(text, &mut hash).map_err(|_| "it is not 32 bytes in hexadecimal")?;
        Ok(Self(hash))
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(…)")
    }
}

/// What stands for the name of a user in keys and ids: the first half of its SHA-256 in hexadecimal, since a name may have
/// any sign. What is found by it says the name again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserKey(String);

impl UserKey {
    /// How many characters it has.
    pub const LENGTH: usize = 32;

    /// That of the user of this name.
    pub fn of(user: &str) -> Self {
        Self(hex::encode(&Sha256::digest(user.as_bytes())[..Self::LENGTH / 2]))
    }

    /// Reads one; nothing when it cannot be one.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = text.len() == Self::LENGTH && is_hex(text);
        plain.then(|| Self(text.to_string()))
    }

    /// It as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a text is hexadecimal, in small letters.
pub(crate) fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn a_hash_is_not_shown_and_reads_as_it_is_written() {
        let hash = SecretHash::of(b"secret");
        assert_eq!(format!("{hash:?}"), "SecretHash(…)");
        assert_eq!(SecretHash::try_from(String::from(hash)), Ok(hash));
        assert!(SecretHash::try_from("5ec2e7".to_string()).is_err());
    }

    #[test]
    fn a_user_of_any_name_has_a_key() {
        for user in ["alice", "a/b", "", "Zoë", "oidc:x y"] {
            let key = UserKey::of(user);
            assert_eq!(UserKey::parse(key.as_str()), Some(key));
        }
        assert_ne!(UserKey::of("alice"), UserKey::of("Alice"));
        assert_eq!(UserKey::parse("abc"), None);
        assert_eq!(UserKey::parse(&"A".repeat(32)), None);
    }
}
