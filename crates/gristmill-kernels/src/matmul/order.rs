//! The order in which the products of a row are summed, which one token and many share.
//!
//! A row is a sequence of steps: blocks of weights, or single ones. With a single token, a vector register takes as
//! many neighbouring steps as it has lanes, and each lane sums every so-manieth step. Those are the chains: chain `c`
//! of `C` has the steps `c`, `c + C`, `c + 2 C` and so on. With many tokens a register's lanes are rows instead, and
//! chain is walked after chain. Either way the sums of the chains are added up in their order, beginning with zero; so
//! both ways give the same bits.

use std::ops::Range;

/// The steps of a row, chain by chain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    n_steps: usize,
    /// The logarithm of the number of chains.
    log2: u32,
}

impl Order {
    /// `n_chains` is a power of two.
    pub(crate) fn new(n_steps: usize, n_chains: usize) -> Order {
        debug_assert!(n_chains.is_power_of_two());
        Order { n_steps, log2: n_chains.ilog2() }
    }

    pub(crate) fn n_steps(self) -> usize {
        self.n_steps
    }

    /// How many places there are. Behind a chain of even length one is empty: chains that are powers of two apart
    /// would meet in the same sets of the caches when a panel is packed.
    pub(crate) fn n_places(self) -> usize {
        self.start(1 << self.log2)
    }

    /// Where step `step` stands.
    #[inline(always)]
    pub(crate) fn place(self, step: usize) -> usize {
        self.start(step & ((1 << self.log2) - 1)) + (step >> self.log2)
    }

    /// Where the steps of each chain stand, of all chains that have more than one.
    #[inline(always)]
    pub(crate) fn chains(self) -> impl Iterator<Item = Range<usize>> {
        let shortest = self.n_steps >> self.log2;
        let n_chains = match shortest {
            0 => 0,
            1 => self.n_longer(),
            _ => 1 << self.log2,
        };
        let len = move |chain| shortest + usize::from(chain < self.n_longer());
        (0..n_chains).map(move |chain| self.start(chain)..self.start(chain) + len(chain))
    }

    /// Where the steps stand that are a chain by themselves; they come after the others.
    #[inline(always)]
    pub(crate) fn singles(self) -> Range<usize> {
        let start = match self.n_steps >> self.log2 {
            0 => 0,
            1 => 2 * self.n_longer(),
            _ => self.n_places(),
        };
        start..self.n_places()
    }

    /// How many chains, the first ones, have one step more than the others.
    #[inline(always)]
    fn n_longer(self) -> usize {
        self.n_steps & ((1 << self.log2) - 1)
    }

    /// Where chain `chain` starts.
    #[inline(always)]
    fn start(self, chain: usize) -> usize {
        let shortest = self.n_steps >> self.log2;
        let gap = usize::from(shortest >= 2 && shortest.is_multiple_of(2));
        chain * (shortest + gap) + chain.min(self.n_longer())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_has_its_place_in_its_chain() {
        for n_chains in [1, 8, 16, 64] {
            for n_steps in [1, 2, 15, 16, 17, 63, 64, 65, 127, 128, 200] {
                let order = Order::new(n_steps, n_chains);
                let singles = order.singles().map(|place| place..place + 1);
                let chains: Vec<Range<usize>> = order.chains().chain(singles).collect();
                let places: Vec<usize> = chains.iter().cloned().flatten().collect();
                assert!(places.is_sorted() && places.iter().all(|&place| place < order.n_places()));
                assert_eq!(places.len(), n_steps);
                for step in 0..n_steps {
                    let chain = &chains[step % n_chains];
                    assert_eq!(order.place(step), chain.start + step / n_chains);
                    assert!(chain.contains(&order.place(step)));
                }
            }
        }
    }
}
