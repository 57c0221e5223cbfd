//! Fast random bytes and weights for full-size test files. Seeded: the same seed gives the same file.

use half::f16;

/// xorshift64* (Vigna, 2014).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Fills `bytes` with noise.
    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let noise = self.next().to_le_bytes();
            chunk.copy_from_slice(&noise[..chunk.len()]);
        }
    }
}

/// Draws bell-shaped f16 weights by table: one value for each of 65,536 equally likely draws.
pub(crate) struct Weights {
    table: Vec<[u8; 2]>,
    random: Random,
}

impl Weights {
    /// Weights of standard deviation `sigma`.
    pub(crate) fn new(seed: u64, sigma: f32) -> Weights {
        let mut random = Random::new(seed);
        // The sum of twelve uniform numbers less six is close to a normal one.
        let mut normal = || {
            (0..12).map(|_| (random.next() >> 40) as f32 / (1u64 << 24) as f32).sum::<f32>() - 6.0
        };
        let table = (0..1 << 16).map(|_| f16::from_f32(normal() * sigma).to_le_bytes()).collect();
        Weights { table, random }
    }

    /// Fills `bytes` with little-endian f16 weights.
    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let draw = self.random.next();
            for (lane, value) in chunk.chunks_mut(2).enumerate() {
                let index = (draw >> (16 * lane)) as usize & 0xffff;
                value.copy_from_slice(&self.table[index][..value.len()]);
            }
        }
    }
}
