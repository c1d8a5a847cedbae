//! Objects: the one kind of bytes at rest.
//!
//! An object is a write-once run of bytes. It belongs to the call that made it and is named by that call's nonce,
//! so no two calls ever write under one name and nothing is ever written under a digest. A blob is a list of
//! objects; nothing is assembled, linked or renamed to make one.

use alloc::string::ToString;
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

/// The name of an object. As text it is the nonce, and `.` and the index when that is not 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    /// The nonce of the call that made it.
    pub nonce: Uuid,
    /// Which of the objects of that call it is: 0 is the body it received, others are what it joined.
    pub index: u32,
}

impl ObjectId {
    /// The object that holds the body which a call received.
    pub fn received_by(nonce: Uuid) -> Self {
        Self { nonce, index: 0 }
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.nonce.fmt(f)?;
        if self.index > 0 { write!(f, ".{}", self.index) } else { Ok(()) }
    }
}

/// A text that names no object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidObjectId;

impl fmt::Display for InvalidObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not the name of an object: a UUID, or a UUID, a dot and a number")
    }
}

impl core::error::Error for InvalidObjectId {}

impl FromStr for ObjectId {
    type Err = InvalidObjectId;

    /// Reads exactly the form that is written, so that each object has one name.
    fn from_str(text: &str) -> Result<Self, InvalidObjectId> {
        let (nonce, index) = text.split_once('.').unwrap_or((text, "0"));
        let nonce = Uuid::try_parse(nonce).map_err(|_| InvalidObjectId)?;
        let id = Self { nonce, index: index.parse().map_err(|_| InvalidObjectId)? };
        if id.to_string() == text { Ok(id) } else { Err(InvalidObjectId) }
    }
}

impl Serialize for ObjectId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ObjectId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = alloc::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_object_has_one_name() {
        let nonce = Uuid::from_u128(0xabc);
        for index in [0, 1, 9, 10, u32::MAX] {
            let id = ObjectId { nonce, index };
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        let plain = nonce.to_string();
        let others = ["", ".", &plain.to_uppercase(), &nonce.simple().to_string()].map(alloc::string::String::from);
        let indexed = ["0", "01", "", "-1", "+1", "1.1", "4294967296"].map(|index| alloc::format!("{plain}.{index}"));
        for other in others.iter().chain(&indexed) {
            assert_eq!(other.parse::<ObjectId>(), Err(InvalidObjectId), "{other}");
        }
    }
}
