//! The order in which the products of a row are summed, which one token and many share.
//!
//! A row is a sequence of steps: blocks of weights, or single ones. With a single token, a vector register takes as
//! many neighbouring steps as it has lanes, and each lane sums every so-manieth step. Those are the chains: chain `c`
//! of `C` has the steps `c`, `c + C`, `c + 2 C` and so on. With many tokens a register's lanes are rows instead, and
//! chain is walked after chain. Either way the sums of the chains are added up in their order, beginning with zero; so
//! both ways give the same bits.
//!
//! Where chains end with something that counts for a limited number of steps only, a row is cut into sections that have
//! their own chains, and section is summed after section.

use std::ops::Range;

/// The steps of a row, section by section and chain by chain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    n_steps: usize,
    chains_log2: u32,
    section_log2: u32,
}

/// How a row is cut: both numbers are powers of two, and sections whole groups of neighbours in different chains.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cut {
    /// Chains in which steps are summed.
    pub chains: usize,
    /// Steps of a section.
    pub section: usize,
}

impl Cut {
    /// Chains that go through whole rows.
    pub(crate) const fn chains(chains: usize) -> Cut {
        Cut { chains, section: 1 << (usize::BITS - 1) }
    }
}

impl Order {
    pub(crate) fn new(n_steps: usize, cut: Cut) -> Order {
        debug_assert!(cut.chains.is_power_of_two() && cut.section.is_power_of_two());
        debug_assert!(cut.section >= cut.chains);
        Order { n_steps, chains_log2: cut.chains.ilog2(), section_log2: cut.section.ilog2() }
    }

    pub(crate) fn n_steps(self) -> usize {
        self.n_steps
    }

    /// How many places there are. Behind a chain of even length one is empty: chains that are powers of two apart
    /// would meet in the same sets of the caches when a panel is packed.
    pub(crate) fn n_places(self) -> usize {
        let last = self.section(self.n_steps >> self.section_log2);
        last.start + last.n_places()
    }

    /// Where step `step` stands.
    #[inline(always)]
    pub(crate) fn place(self, step: usize) -> usize {
        let section = self.section(step >> self.section_log2);
        section.start + section.place(step & ((1 << self.section_log2) - 1))
    }

    /// All sections.
    #[inline(always)]
    pub(crate) fn sections(self) -> impl Iterator<Item = Section> {
        let n_whole = self.n_steps >> self.section_log2;
        let n = n_whole + usize::from(n_whole << self.section_log2 < self.n_steps);
        (0..n).map(move |i| self.section(i))
    }

    /// The only section of a row that is not cut.
    #[inline(always)]
    pub(crate) fn whole(self) -> Section {
        self.section(0)
    }

    #[inline(always)]
    fn section(self, i: usize) -> Section {
        let whole = 1 << self.section_log2;
        let section = |n_steps, start| Section { n_steps, log2: self.chains_log2, start };
        let n_before = i << self.section_log2;
        let start = if i == 0 { 0 } else { i * section(whole, 0).n_places() };
        section(whole.min(self.n_steps - n_before), start)
    }
}

/// A part of a row that has its own chains.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Section {
    n_steps: usize,
    /// The logarithm of the number of chains.
    log2: u32,
    /// The first place.
    start: usize,
}

impl Section {
    #[inline(always)]
    fn n_places(self) -> usize {
        self.chain(1 << self.log2)
    }

    #[inline(always)]
    fn place(self, step: usize) -> usize {
        self.chain(step & ((1 << self.log2) - 1)) + (step >> self.log2)
    }

    /// Where the steps of each chain stand.
    #[inline(always)]
    pub(crate) fn chains(self) -> impl Iterator<Item = Range<usize>> {
        let shortest = self.n_steps >> self.log2;
        let len = move |chain| shortest + usize::from(chain < self.n_longer());
        (0..self.n_steps.min(1 << self.log2)).map(move |chain| {
            let start = self.start + self.chain(chain);
            start..start + len(chain)
        })
    }

    /// How many chains, the first ones, have one step more than the others.
    #[inline(always)]
    fn n_longer(self) -> usize {
        self.n_steps & ((1 << self.log2) - 1)
    }

    /// How many places are before chain `chain`.
    #[inline(always)]
    fn chain(self, chain: usize) -> usize {
        let shortest = self.n_steps >> self.log2;
        let gap = usize::from(shortest >= 2 && shortest.is_multiple_of(2));
        chain * (shortest + gap) + chain.min(self.n_longer())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const N_STEPS: [usize; 11] = [1, 2, 15, 16, 17, 63, 64, 65, 127, 128, 200];

    #[test]
    fn every_step_has_its_place_in_its_chain() {
        for n_chains in [1, 8, 16, 64] {
            for n_steps in N_STEPS {
                let order = Order::new(n_steps, Cut::chains(n_chains));
                let chains: Vec<Range<usize>> = order.whole().chains().collect();
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

    #[test]
    fn every_section_has_its_own_chains() {
        for (chains, section) in [(1, 2), (8, 16), (16, 64)] {
            for n_steps in N_STEPS {
                let order = Order::new(n_steps, Cut { chains, section });
                let sections: Vec<Section> = order.sections().collect();
                assert_eq!(sections.len(), n_steps.div_ceil(section));
                let places = sections.iter().flat_map(|section| section.chains()).flatten();
                let places: Vec<usize> = places.collect();
                assert!(places.is_sorted() && places.iter().all(|&place| place < order.n_places()));
                assert_eq!(places.len(), n_steps);
                for step in 0..n_steps {
                    let (number, within) = (step / section, step % section);
                    let chain = sections[number].chains().nth(within % chains).unwrap();
                    assert_eq!(order.place(step), chain.start + within / chains);
                    assert!(chain.contains(&order.place(step)));
                }
            }
        }
    }
}
