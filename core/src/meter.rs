//! The meter: everything the core needs to know of bytes that never pass through it.
//!
//! A [`Meter`] counts bytes against a limit and hashes them. It travels to the host inside
//! [`Receive`](crate::effect::Receive) and [`Measure`](crate::effect::Measure), sees every chunk, and comes
//! back with the outcome. Its state is resumable: between the chunks of an upload it lies in the upload's
//! record, so that a session survives a restart and no byte is read twice.

use alloc::{string::String, vec::Vec};
use core::fmt;

use serde::{Deserialize, Serialize};
use sha2::digest::common::hazmat::SerializableState;
use sha2::{Digest as _, Sha256, Sha512};

use crate::digest::{Algorithm, Digest};

/// Which form the state of a hash has in a record. The library that hashes promises nothing about it: a version of it
/// with another form is another number here, and of a session with a state of this one the bytes are read again.
const FORM: &str = "1";

/// Counts and hashes bytes.
#[derive(Clone)]
pub struct Meter {
    count: u64,
    limit: u64,
    hash: Hash,
}

#[derive(Clone)]
enum Hash {
    Sha256(Sha256),
    Sha512(Sha512),
}

/// A meter at rest, as a record holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeterState {
    /// How many bytes it has seen.
    pub count: u64,
    /// The algorithm, the version of the form, and the state of the hash in hex.
    hash: String,
}

impl Meter {
    /// A meter that has seen nothing and takes any number of bytes.
    pub fn new(algorithm: Algorithm) -> Self {
        let hash = match algorithm {
            Algorithm::Sha256 => Hash::Sha256(Sha256::new()),
            Algorithm::Sha512 => Hash::Sha512(Sha512::new()),
        };
        Self { count: 0, limit: u64::MAX, hash }
    }

    /// The same meter, with `limit` as the highest count it may reach, in bytes.
    pub fn with_limit(self, limit: u64) -> Self {
        Self { limit, ..self }
    }

    /// How many bytes may still come.
    pub fn room(&self) -> u64 {
        self.limit.saturating_sub(self.count)
    }

    /// How many bytes it has seen.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The algorithm it hashes with.
    pub fn algorithm(&self) -> Algorithm {
        match self.hash {
            Hash::Sha256(_) => Algorithm::Sha256,
            Hash::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// Sees the next bytes. The host stores exactly those it shows here: never more than [`room`](Self::room).
    pub fn update(&mut self, bytes: &[u8]) {
        self.count = self.count.saturating_add(bytes.len() as u64);
        match &mut self.hash {
            Hash::Sha256(hash) => hash.update(bytes),
            Hash::Sha512(hash) => hash.update(bytes),
        }
    }

    /// The digest of all bytes seen.
    pub fn digest(&self) -> Digest {
        match &self.hash {
            Hash::Sha256(hash) => Digest::new(Algorithm::Sha256, &hash.clone().finalize()),
            Hash::Sha512(hash) => Digest::new(Algorithm::Sha512, &hash.clone().finalize()),
        }
    }

    /// The meter at rest.
    pub fn save(&self) -> MeterState {
        let state = match &self.hash {
            Hash::Sha256(hash) => hex::encode(hash.serialize()),
            Hash::Sha512(hash) => hex::encode(hash.serialize()),
        };
        MeterState { count: self.count, hash: alloc::format!("{}:{FORM}:{state}", self.algorithm().name()) }
    }
}

impl MeterState {
    /// The algorithm it hashes with, which stands there in every form; `None` when it is damaged.
    pub fn algorithm(&self) -> Option<Algorithm> {
        Algorithm::named(self.hash.split_once(':')?.0)
    }

    /// The meter as it was saved, without a limit; `None` when the state has another form, or is damaged.
    pub fn resume(&self) -> Option<Meter> {
        let (algorithm, state) = self.hash.split_once(':')?;
        let state = state.strip_prefix(FORM)?.strip_prefix(':')?;
        let state: Vec<u8> = hex::decode(state).ok()?;
        let hash = match Algorithm::named(algorithm)? {
            Algorithm::Sha256 => Hash::Sha256(Sha256::deserialize(state.as_slice().try_into().ok()?).ok()?),
            Algorithm::Sha512 => Hash::Sha512(Sha512::deserialize(state.as_slice().try_into().ok()?).ok()?),
        };
        Some(Meter { count: self.count, limit: u64::MAX, hash })
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Meter({} after {} bytes", self.algorithm().name(), self.count)?;
        if self.limit != u64::MAX {
            write!(f, ", {} at most", self.limit)?;
        }
        f.write_str(")")
    }
}

impl PartialEq for Meter {
    /// Meters are equal when nothing that is still to come could tell them apart.
    fn eq(&self, other: &Self) -> bool {
        self.limit == other.limit && self.save() == other.save()
    }
}

impl Eq for Meter {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meter_resumes_where_it_was_saved() {
        let bytes: Vec<u8> = (0..1000u32).flat_map(u32::to_le_bytes).collect();
        for algorithm in Algorithm::ALL {
            let mut meter = Meter::new(algorithm);
            for chunk in bytes.chunks(77) {
                meter.update(chunk);
                let state = serde_json::to_string(&meter.save()).expect("a state is plain data");
                meter = serde_json::from_str::<MeterState>(&state).expect("as written").resume().expect("undamaged");
            }
            assert_eq!(meter.count(), bytes.len() as u64);
            assert_eq!(meter.digest(), algorithm.digest(&bytes));
        }
    }

    #[test]
    fn a_damaged_state_is_refused() {
        let good = Meter::new(Algorithm::Sha256).save();
        let other_form = good.hash.replace(":1:", ":2:");
        let of_no_form = good.hash.replace(":1:", ":");
        for hash in ["", "sha256", "sha256:", "sha256:1:00", "md5:1:00", "sha256:1:zz", &*other_form, &*of_no_form] {
            assert!(MeterState { hash: hash.into(), ..good.clone() }.resume().is_none(), "{hash}");
        }
        assert_eq!(MeterState { hash: other_form, ..good }.algorithm(), Some(Algorithm::Sha256));
    }
}
