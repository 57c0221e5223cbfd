//! Damage: what happens to files on their way.

use crate::Rng;

/// Every beginning of `bytes`, from nothing to all but the last byte.
pub fn truncations(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    (0..bytes.len()).map(|end| &bytes[..end])
}

/// `n` copies of `bytes`, each with one bit flipped at a random place, the places chosen by `seed`.
///
/// # Panics
/// When there are no bytes.
pub fn flips(bytes: &[u8], seed: u64, n: usize) -> impl Iterator<Item = Vec<u8>> {
    let mut rng = Rng::new(seed);
    (0..n).map(move |_| {
        let mut damaged = bytes.to_vec();
        damaged[rng.below(bytes.len())] ^= 1 << rng.below(8);
        damaged
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_beginning_is_a_truncation() {
        let beginnings: Vec<_> = truncations(b"abc").collect();
        assert_eq!(beginnings, [&b""[..], b"a", b"ab"]);
    }

    #[test]
    fn a_flip_changes_one_bit() {
        let damage = |copy: Vec<u8>| copy.iter().map(|byte| byte.count_ones()).sum::<u32>();
        assert!(flips(&[0; 8], 1, 100).map(damage).all(|bits| bits == 1));
    }
}
