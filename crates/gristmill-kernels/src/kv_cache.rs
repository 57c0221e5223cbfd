//! The keys and values of earlier tokens, for one attention layer.
//!
//! Memory grows by pages of [`PAGE`] positions, so nothing is ever moved. Inside a page each key-value head has its
//! keys with the positions side by side and its values with the dimensions side by side, which makes both products
//! of attention (scores and weighted values) plain row-major ones without sums across a vector:
//!
//! ```text
//! page = keys of head 0 | of head 1 | …   values of head 0 | …   scales of keys | …   of values | …
//!
//!        keys   [head_dim, PAGE]                          scales [blocks, PAGE]
//!        values [PAGE, head_dim rounded up to 16]         scales [PAGE, blocks]
//! ```
//!
//! Only codes ([`CacheType::Q8_0`]) have scales, one for each [`BLOCK`] dimensions of a head at a position. They lie
//! as the products want them: beside each other where positions are, one per row where dimensions are.

mod element;
mod page;

use std::io;

use half::f16;

use crate::Team;
use crate::level::vector::{Kernel, LANES, Vector, dispatch};
use element::narrow;
pub(crate) use element::{BLOCK, Element};
use page::HeadMut;
pub(crate) use page::{Head, Page};

/// Positions per page. It is also the length of attention's partial sums, so it decides rounding and must not depend
/// on the machine.
pub(crate) const PAGE: usize = 128;

/// Elements written by one thread while another would only be waking up.
const GRAIN: usize = 16_384;

/// How a cache stores its elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheType {
    /// Two bytes each. Magnitudes above 65504 are stored as that.
    #[default]
    F16,
    /// Four bytes each, exact.
    F32,
    /// The numbers of ggml's Q8_0: a signed byte each, times a scale that 32 dimensions of a head share. Magnitudes
    /// above 65504 are stored as that.
    Q8_0,
}

/// The cache of one attention layer.
#[derive(Debug)]
pub struct KvCache {
    shape: HeadShape,
    pages: Pages,
}

/// The pages by the type of their elements.
#[derive(Debug)]
pub(crate) enum Pages {
    F16(Vec<Page<f16>>),
    F32(Vec<Page<f32>>),
    Q8_0(Vec<Page<i8>>),
}

/// Does the same with the pages of every type.
macro_rules! for_pages {
    ($all:expr, $pages:pat => $work:expr) => {
        match $all {
            $crate::kv_cache::Pages::F16($pages) => $work,
            $crate::kv_cache::Pages::F32($pages) => $work,
            $crate::kv_cache::Pages::Q8_0($pages) => $work,
        }
    };
}
pub(crate) use for_pages;

/// The extents of what is cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeadShape {
    pub(crate) n_head_kv: usize,
    pub(crate) head_dim: usize,
}

impl HeadShape {
    /// Elements per position of the values, a multiple of the vector's length.
    pub(crate) fn value_width(self) -> usize {
        self.head_dim.next_multiple_of(LANES)
    }

    /// Blocks that share a scale, per position.
    pub(crate) fn n_blocks(self) -> usize {
        self.head_dim.div_ceil(BLOCK)
    }
}

impl KvCache {
    /// An empty cache for `n_head_kv` heads of `head_dim` elements.
    pub fn new(n_head_kv: usize, head_dim: usize, cache_type: CacheType) -> KvCache {
        let pages = match cache_type {
            CacheType::F16 => Pages::F16(Vec::new()),
            CacheType::F32 => Pages::F32(Vec::new()),
            CacheType::Q8_0 => Pages::Q8_0(Vec::new()),
        };
        KvCache { shape: HeadShape { n_head_kv, head_dim }, pages }
    }

    /// Bytes that a cache of this kind takes for `n_positions`; `None` when that overflows.
    pub fn bytes_for(
        n_head_kv: usize,
        head_dim: usize,
        cache_type: CacheType,
        n_positions: usize,
    ) -> Option<usize> {
        let per_position = KvCache::bytes_per_position(n_head_kv, head_dim, cache_type)?;
        n_positions.checked_next_multiple_of(PAGE)?.checked_mul(per_position)
    }

    /// Bytes of the keys and values of one position; `None` when that overflows.
    pub fn bytes_per_position(
        n_head_kv: usize,
        head_dim: usize,
        cache_type: CacheType,
    ) -> Option<usize> {
        let n_elements = head_dim.checked_next_multiple_of(LANES)?.checked_add(head_dim)?;
        let per_head = match cache_type {
            CacheType::F16 => n_elements.checked_mul(size_of::<f16>())?,
            CacheType::F32 => n_elements.checked_mul(size_of::<f32>())?,
            CacheType::Q8_0 => {
                let n_scales = 2 * head_dim.div_ceil(BLOCK);
                n_elements.checked_add(n_scales.checked_mul(size_of::<f32>())?)?
            }
        };
        per_head.checked_mul(n_head_kv)
    }

    /// Makes room for `n_positions`, a page at a time. What is cached stays.
    ///
    /// # Errors
    /// When there is no memory; what was cached is still there.
    pub fn reserve(&mut self, n_positions: usize) -> io::Result<()> {
        fn grow<E: Element>(
            pages: &mut Vec<Page<E>>,
            n_pages: usize,
            shape: HeadShape,
        ) -> io::Result<()> {
            while pages.len() < n_pages {
                pages.push(Page::new(shape)?);
            }
            Ok(())
        }
        let n_pages = n_positions.div_ceil(PAGE);
        for_pages!(&mut self.pages, pages => grow(pages, n_pages, self.shape))
    }

    /// Positions there is room for.
    pub fn capacity(&self) -> usize {
        PAGE * for_pages!(&self.pages, pages => pages.len())
    }

    /// Stores the keys and values of the tokens from position `first` on: rows of all heads, as projected.
    ///
    /// # Panics
    /// When the lengths do not fit, or there is no room.
    pub fn write(&mut self, team: &Team, first: usize, k: &[f32], v: &[f32]) {
        let width = self.shape.n_head_kv * self.shape.head_dim;
        assert!(
            k.len() == v.len() && k.len().is_multiple_of(width),
            "whole rows of keys and values"
        );
        assert!(first + k.len() / width <= self.capacity(), "room was reserved");
        for_pages!(&mut self.pages, pages => write(team, self.shape, pages, first, k, v));
    }

    pub(crate) fn shape(&self) -> HeadShape {
        self.shape
    }

    pub(crate) fn pages(&self) -> &Pages {
        &self.pages
    }
}

fn write<E: Element>(
    team: &Team,
    shape: HeadShape,
    pages: &mut [Page<E>],
    first: usize,
    k: &[f32],
    v: &[f32],
) {
    let width = shape.n_head_kv * shape.head_dim;
    let end = first + k.len() / width;
    for page_number in first / PAGE..end.div_ceil(PAGE) {
        let start = page_number * PAGE;
        let positions = first.max(start)..end.min(start + PAGE);
        let from = (positions.start - first) * width;
        let rows = from..from + positions.len() * width;
        let (k, v) = (&k[rows.clone()], &v[rows]);
        let slot = positions.start - start;
        let mut heads = pages[page_number].heads_mut(shape);
        let team = if 2 * k.len() < GRAIN { Team::alone() } else { team };
        team.for_each_chunk_mut(&mut heads, 1, &|number, heads| {
            heads.iter_mut().for_each(|head| dispatch(Write { shape, head, number, slot, k, v }));
        });
    }
}

/// Stores one head of consecutive tokens, the first of which has the place `slot` in its page.
struct Write<'a, 'p, E> {
    shape: HeadShape,
    head: &'a mut HeadMut<'p, E>,
    number: usize,
    slot: usize,
    k: &'a [f32],
    v: &'a [f32],
}

impl<E: Element> Kernel for Write<'_, '_, E> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let HeadShape { n_head_kv, head_dim } = self.shape;
        let (n_blocks, value_width) = (self.shape.n_blocks(), self.shape.value_width());
        let width = n_head_kv * head_dim;
        let part = self.number * head_dim..(self.number + 1) * head_dim;
        let tokens = self.k.chunks_exact(width).zip(self.v.chunks_exact(width));
        for (slot, (k, v)) in (self.slot..).zip(tokens) {
            let keys = k[part.clone()].chunks(BLOCK).zip(self.head.keys.chunks_mut(BLOCK * PAGE));
            for (b, (k, keys)) in keys.enumerate() {
                let (narrow, scale) = narrow::<V, E>(k);
                for (key, row) in narrow.iter().zip(keys.chunks_exact_mut(PAGE)) {
                    row[slot] = *key;
                }
                if E::SCALED {
                    self.head.key_scales[b * PAGE + slot] = scale;
                }
            }
            let values = &mut self.head.values[slot * value_width..][..head_dim];
            for (b, (v, values)) in
                v[part.clone()].chunks(BLOCK).zip(values.chunks_mut(BLOCK)).enumerate()
            {
                let (narrow, scale) = narrow::<V, E>(v);
                values.copy_from_slice(&narrow[..v.len()]);
                if E::SCALED {
                    self.head.value_scales[slot * n_blocks + b] = scale;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gristmill_quant::{Q8_0, Quantize};

    #[test]
    fn what_is_written_is_found_at_its_position_and_head() {
        let (n_head_kv, head_dim) = (3, 70);
        let shape = HeadShape { n_head_kv, head_dim };
        let width = n_head_kv * head_dim;
        let value = |position: usize, i: usize| (position * width + i) as f32;
        for (first, n_tokens) in [(0, 1), (0, 300), (120, 1), (100, 200), (255, 3)] {
            let row = |sign: f32| -> Vec<f32> {
                (first..first + n_tokens)
                    .flat_map(|p| (0..width).map(move |i| sign * value(p, i)))
                    .collect()
            };
            let mut cache = KvCache::new(n_head_kv, head_dim, CacheType::F32);
            cache.reserve(first + n_tokens).unwrap();
            cache.write(&Team::new(2), first, &row(1.0), &row(-1.0));
            let Pages::F32(pages) = cache.pages() else { panic!("it was made so") };
            for position in first..first + n_tokens {
                for i in 0..width {
                    let head = pages[position / PAGE].head(shape, i / head_dim);
                    let (slot, d) = (position % PAGE, i % head_dim);
                    assert_eq!(head.keys[d * PAGE + slot], value(position, i));
                    assert_eq!(head.values[slot * shape.value_width() + d], -value(position, i));
                }
            }
        }
    }

    #[test]
    fn codes_and_scales_are_those_of_ggml() {
        let (n_head_kv, head_dim) = (2, 70);
        let shape = HeadShape { n_head_kv, head_dim };
        let n_tokens = 140;
        let rows = |seed: f32| -> Vec<f32> {
            (0..n_tokens * n_head_kv * head_dim).map(|i| (i as f32 * seed).sin() * 3.0).collect()
        };
        let (k, v) = (rows(1.1), rows(0.7));
        let mut cache = KvCache::new(n_head_kv, head_dim, CacheType::Q8_0);
        cache.reserve(n_tokens).unwrap();
        cache.write(&Team::new(2), 0, &k, &v);
        let Pages::Q8_0(pages) = cache.pages() else { panic!("it was made so") };
        // A head's last block is as if zeros followed.
        let n_blocks = shape.n_blocks();
        assert_eq!(n_blocks, 3);
        let quantized = |x: &[f32]| {
            let mut padded = vec![0.0; n_blocks * BLOCK];
            padded[..head_dim].copy_from_slice(x);
            let mut blocks = vec![0; n_blocks * (2 + BLOCK)];
            Q8_0::quantize(&padded, &mut blocks);
            blocks
        };
        for (i, (k, v)) in k.chunks(head_dim).zip(v.chunks(head_dim)).enumerate() {
            let (position, head) = (i / n_head_kv, i % n_head_kv);
            let (head, slot) = (pages[position / PAGE].head(shape, head), position % PAGE);
            let (k, v) = (quantized(k), quantized(v));
            for b in 0..n_blocks {
                let scale = |blocks: &[u8]| {
                    let at = b * (2 + BLOCK);
                    f16::from_le_bytes([blocks[at], blocks[at + 1]]).to_f32()
                };
                assert_eq!(head.key_scales[b * PAGE + slot], scale(&k));
                assert_eq!(head.value_scales[slot * n_blocks + b], scale(&v));
            }
            for d in 0..head_dim {
                let at = d / BLOCK * (2 + BLOCK) + 2 + d % BLOCK;
                assert_eq!(head.keys[d * PAGE + slot], k[at] as i8);
                assert_eq!(head.values[slot * shape.value_width() + d], v[at] as i8);
            }
        }
    }

    #[test]
    fn a_cache_takes_the_bytes_that_were_told() {
        for cache_type in [CacheType::F16, CacheType::F32, CacheType::Q8_0] {
            let mut cache = KvCache::new(3, 70, cache_type);
            cache.reserve(129).unwrap();
            let bytes: usize = for_pages!(cache.pages(), pages => pages
                .iter()
                .map(|page| page.n_bytes())
                .sum());
            assert_eq!(KvCache::bytes_for(3, 70, cache_type, 129), Some(bytes), "{cache_type:?}");
        }
    }

    #[test]
    fn absurd_sizes_are_none() {
        assert_eq!(KvCache::bytes_for(3, 64, CacheType::F16, 129), Some(256 * 3 * 128 * 2));
        assert_eq!(KvCache::bytes_for(3, 64, CacheType::F16, usize::MAX), None);
        assert_eq!(KvCache::bytes_for(3, 64, CacheType::Q8_0, 1), Some(128 * 3 * (128 + 4 * 4)));
        for cache_type in [CacheType::F32, CacheType::Q8_0] {
            assert_eq!(KvCache::bytes_for(usize::MAX, 64, cache_type, 2), None);
            assert_eq!(KvCache::bytes_for(1, usize::MAX / 2, cache_type, 2), None);
        }
    }
}
