//! Fast random bytes and weights for full-size test files. Seeded: the same seed gives the same file.

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

/// Draws bell-shaped weights of `N` bytes by table: one value for each of 65,536 equally likely draws.
pub(crate) struct Weights<const N: usize> {
    table: Vec<[u8; N]>,
    random: Random,
}

impl<const N: usize> Weights<N> {
    /// Weights of standard deviation `sigma`, stored as `encode` says.
    pub(crate) fn new(seed: u64, sigma: f32, encode: fn(f32) -> [u8; N]) -> Weights<N> {
        let mut random = Random::new(seed);
        // The sum of twelve uniform numbers less six is close to a normal one.
        let mut normal = || {
            (0..12).map(|_| (random.next() >> 40) as f32 / (1u64 << 24) as f32).sum::<f32>() - 6.0
        };
        let table = (0..1 << 16).map(|_| encode(normal() * sigma)).collect();
        Weights { table, random }
    }

    /// Fills `bytes` with weights.
    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for four in bytes.chunks_mut(4 * N) {
            let draw = self.random.next();
            for (lane, value) in four.chunks_mut(N).enumerate() {
                let index = (draw >> (16 * lane)) as usize & 0xffff;
                value.copy_from_slice(&self.table[index][..value.len()]);
            }
        }
    }
}
