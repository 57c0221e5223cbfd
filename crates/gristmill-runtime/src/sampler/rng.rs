//! The dice: xoshiro256++ (Blackman & Vigna, 2019), filled by SplitMix64 from the seed. The same everywhere.

use std::hash::{BuildHasher, RandomState};

/// A seeded generator.
#[derive(Clone, Debug)]
pub(super) struct Rng([u64; 4]);

impl Rng {
    pub(super) fn new(seed: u64) -> Rng {
        let mut state = seed;
        Rng([(); 4].map(|()| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }))
    }

    fn bits(&mut self) -> u64 {
        let s = &mut self.0;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// Uniform in `0.0 .. 1.0`, in steps of 2^-53.
    pub(super) fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// A seed that nobody can guess, from the standard library's source of randomness.
pub(super) fn random_seed() -> u64 {
    RandomState::new().hash_one(0u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_the_published_one() {
        let mut rng = Rng([1, 2, 3, 4]);
        assert_eq!(
            [(); 4].map(|()| rng.bits()),
            [41943041, 58720359, 3588806011781223, 3591011842654386]
        );
    }

    #[test]
    fn draws_fill_the_unit_interval_evenly() {
        let mut rng = Rng::new(0);
        let mut counts = [0u32; 10];
        (0..100_000).for_each(|_| counts[(rng.uniform() * 10.0) as usize] += 1);
        assert!(counts.iter().all(|count| (9_600..10_400).contains(count)), "{counts:?}");
    }
}
