//! Digests: what a content is called by what it is (OCI image-spec, "Digests"; SPEC B6, B7).

use alloc::string::{String, ToString};
use core::fmt;
use core::str::FromStr;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A registered digest algorithm. SHA-256 is a MUST, SHA-512 a MAY that the official suite counts (SPEC B7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// 32 bytes, written as 64 hex digits. What everybody uses.
    Sha256,
    /// 64 bytes, written as 128 hex digits.
    Sha512,
}

impl Algorithm {
    /// Every algorithm, in order.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];

    /// The name in front of the colon.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// The length of a hash in bytes.
    pub fn size(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// The algorithm of that name, if we know it.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// The digest of bytes that are in memory.
    pub fn digest(self, bytes: &[u8]) -> Digest {
        use sha2::Digest as _;
        match self {
            Self::Sha256 => Digest::new(self, &sha2::Sha256::digest(bytes)),
            Self::Sha512 => Digest::new(self, &sha2::Sha512::digest(bytes)),
        }
    }
}

/// A digest of a known algorithm, with an encoded part of the right length in lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    algorithm: Algorithm,
    /// The hash, zeros behind it.
    hash: [u8; 64],
}

/// Why a string is no digest that we take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestError {
    /// It does not have the form `algorithm:encoded`, or the encoded part does not fit the algorithm.
    Malformed,
    /// It has the form, but the algorithm is none of ours.
    UnknownAlgorithm,
}

impl Digest {
    /// A digest from a finished hash.
    ///
    /// # Panics
    ///
    /// When `hash` is not as long as the algorithm says.
    pub(crate) fn new(algorithm: Algorithm, hash: &[u8]) -> Self {
        let mut padded = [0; 64];
        padded[..algorithm.size()].copy_from_slice(hash);
        Self { algorithm, hash: padded }
    }

    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The part behind the colon: lower-case hex.
    pub fn encoded(&self) -> String {
        hex::encode(self.hash())
    }

    /// The hash itself, as many bytes as the [algorithm](Algorithm::size) has.
    pub fn hash(&self) -> &[u8] {
        &self.hash[..self.algorithm.size()]
    }

    /// The digest with this hash; none when it is not as long as the algorithm says.
    pub fn of_hash(algorithm: Algorithm, hash: &[u8]) -> Option<Self> {
        (hash.len() == algorithm.size()).then(|| Self::new(algorithm, hash))
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    /// `digest ::= algorithm ":" encoded`, `algorithm ::= component (separator component)*`,
    /// `component ::= [a-z0-9]+`, `separator ::= [+._-]`, `encoded ::= [a-zA-Z0-9=_-]+`; for SHA-2 the encoded
    /// part is lower-case hex of the exact length.
    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (name, encoded) = text.split_once(':').ok_or(DigestError::Malformed)?;
        let Some(algorithm) = Algorithm::named(name) else {
            let known_form = name.split(['+', '.', '_', '-']).all(|component| {
                !component.is_empty() && component.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
            }) && !encoded.is_empty()
                && encoded.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'=' | b'_' | b'-'));
            return Err(if known_form { DigestError::UnknownAlgorithm } else { DigestError::Malformed });
        };
        let mut hash = [0; 64];
        // `decode_to_slice` takes upper-case digits, the image-spec does not: one content, one name.
        if encoded.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(DigestError::Malformed);
        }
        hex::decode_to_slice(encoded, &mut hash[..algorithm.size()]).map_err(|_| DigestError::Malformed)?;
        Ok(Self { algorithm, hash })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        // The whole in one piece: digests are written into keys and header fields all the time.
        let mut text = [0; 7 + 128];
        let name = self.algorithm.name().as_bytes();
        text[..name.len()].copy_from_slice(name);
        text[name.len()] = b':';
        let encoded = text[name.len() + 1..].chunks_exact_mut(2);
        for (digits, byte) in encoded.zip(self.hash()) {
            digits.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        let length = name.len() + 1 + 2 * self.algorithm.size();
        // All of it is ASCII, so this cannot fail.
        f.write_str(core::str::from_utf8(&text[..length]).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for DigestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "a digest is `sha256:` with 64 or `sha512:` with 128 lower-case hex digits",
            Self::UnknownAlgorithm => "the digest algorithms known here are sha256 and sha512",
        })
    }
}

impl core::error::Error for DigestError {}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_string())
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text)
    }
}

/// Reads a digest where it stands, without a copy of its text.
struct Text;

impl Visitor<'_> for Text {
    type Value = Digest;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a digest")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Digest, E> {
        text.parse().map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_digest_is_written_as_it_is_read() {
        assert_eq!(Algorithm::Sha256.digest(b"").to_string(), EMPTY);
        for algorithm in Algorithm::ALL {
            let digest = algorithm.digest(b"orlop");
            assert_eq!(digest.to_string().parse(), Ok(digest));
        }
    }

    /// SPEC B6: exactly 64 or 128 lower-case digits; SPEC B9: an unknown algorithm is told apart.
    #[test]
    fn only_the_grammar_of_the_image_spec_is_a_digest() {
        let hex = &EMPTY[7..];
        for malformed in [
            String::new(),
            "sha256".into(),
            "sha256:".into(),
            hex.into(),
            alloc::format!("sha256:{}", &hex[1..]),
            alloc::format!("sha256:{hex}0"),
            alloc::format!("sha256:{}", hex.to_uppercase()),
            alloc::format!("SHA256:{hex}"),
            alloc::format!("sha512:{hex}"),
            alloc::format!("sha256:{}g", &hex[1..]),
            alloc::format!("sha256:{} ", &hex[1..]),
            "md5+:aa".into(),
            ":aa".into(),
            "md5:".into(),
            "md5:a/b".into(),
        ] {
            assert_eq!(malformed.parse::<Digest>(), Err(DigestError::Malformed), "{malformed:?}");
        }
        for unknown in ["md5:d41d8cd98f00b204e9800998ecf8427e", "sha384:00", "sha256+b64:AZ=_-"] {
            assert_eq!(unknown.parse::<Digest>(), Err(DigestError::UnknownAlgorithm), "{unknown}");
        }
    }
}
