//! Chance that can be repeated: a small generator of random numbers (SplitMix64), started from a seed.

/// Random numbers, the same for the same seed.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// Numbers for that seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Numbers for a named part of a run: parts do not change when others are left out.
    pub fn of(seed: u64, part: &str) -> Self {
        let mut chance = Self(seed);
        for byte in part.bytes() {
            chance.0 = chance.bits().wrapping_add(u64::from(byte));
        }
        chance
    }

    /// A seed that nobody chose.
    pub fn seed() -> u64 {
        use std::hash::{BuildHasher, Hasher};
        std::hash::RandomState::new().build_hasher().finish() >> 16
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.bits() % bound as u64) as usize
    }

    /// True once in `n` times.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}
