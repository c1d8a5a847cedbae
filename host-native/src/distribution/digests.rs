//! Many digests in little memory: a repository may hold a million blobs.

use orlop_core::digest::{Algorithm, Digest};

/// Digests in order, and a number for each that says how it stands.
#[derive(Clone, Debug, Default)]
pub(crate) struct Digests {
    short: Vec<[u8; 32]>,
    long: Vec<[u8; 64]>,
    states: Vec<u8>,
}

impl Digests {
    /// Adds one. They are found once all are added and [in order](Self::sort).
    pub(crate) fn push(&mut self, digest: &Digest) {
        match digest.algorithm() {
            Algorithm::Sha256 => self.short.extend(<[u8; 32]>::try_from(digest.hash())),
            Algorithm::Sha512 => self.long.extend(<[u8; 64]>::try_from(digest.hash())),
        }
    }

    /// Puts them in order, each once, with the state 0.
    pub(crate) fn sort(&mut self) {
        self.short.sort_unstable();
        self.short.dedup();
        self.long.sort_unstable();
        self.long.dedup();
        self.states = vec![0; self.short.len() + self.long.len()];
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.states.len()
    }

    /// The digest at a place.
    pub(crate) fn get(&self, place: usize) -> Option<Digest> {
        match self.short.get(place) {
            Some(hash) => Digest::of_hash(Algorithm::Sha256, hash),
            None => Digest::of_hash(Algorithm::Sha512, self.long.get(place - self.short.len())?),
        }
    }

    /// The place of a digest.
    pub(crate) fn find(&self, digest: &Digest) -> Option<usize> {
        match digest.algorithm() {
            Algorithm::Sha256 => self.short.binary_search_by(|hash| hash.as_slice().cmp(digest.hash())).ok(),
            Algorithm::Sha512 => {
                let place = self.long.binary_search_by(|hash| hash.as_slice().cmp(digest.hash())).ok()?;
                Some(self.short.len() + place)
            }
        }
    }

    /// How the one at a place stands; 0 where there is none.
    pub(crate) fn state(&self, place: usize) -> u8 {
        self.states.get(place).copied().unwrap_or_default()
    }

    /// Says how the one at a place stands.
    pub(crate) fn set(&mut self, place: usize, state: u8) {
        if let Some(now) = self.states.get_mut(place) {
            *now = state;
        }
    }

    /// The places of those in a state.
    pub(crate) fn places(&self, state: u8) -> Vec<usize> {
        (0..self.len()).filter(|place| self.state(*place) == state).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_of_both_algorithms_are_found_at_their_places() {
        let all: Vec<Digest> =
            (0..50_u8).flat_map(|n| Algorithm::ALL.map(|algorithm| algorithm.digest(&[n]))).collect();
        let mut digests = Digests::default();
        all.iter().chain(&all).for_each(|digest| digests.push(digest));
        digests.sort();
        assert_eq!(digests.len(), 100);
        for digest in &all {
            let place = digests.find(digest).unwrap();
            assert_eq!(digests.get(place), Some(*digest));
            digests.set(place, 2);
        }
        assert_eq!((digests.places(2).len(), digests.get(100)), (100, None));
        assert_eq!(digests.find(&Algorithm::Sha256.digest(b"none")), None);
    }
}
