//! The keys and values of earlier tokens, for one attention layer.
//!
//! Memory grows by pages of [`PAGE`] positions, so nothing is ever moved. Inside a page each key-value head has its
//! keys with the positions side by side and its values with the dimensions side by side, which makes both products
//! of attention (scores and weighted values) plain row-major ones without sums across a vector:
//!
//! ```text
//! page = head 0 | head 1 | …      head = keys [head_dim, PAGE] | values [PAGE, head_dim rounded up to 16]
//! ```

use std::collections::TryReserveError;

use half::f16;
use half::slice::HalfFloatSliceExt;

use crate::Team;
use crate::level::vector::{LANES, Vector};

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
}

impl CacheType {
    /// Bytes per element.
    pub fn bytes(self) -> usize {
        match self {
            CacheType::F16 => 2,
            CacheType::F32 => 4,
        }
    }
}

/// An element of a cache.
pub(crate) trait Element: Copy + Send + Sync {
    const ZERO: Self;

    /// Sixteen of them, widened.
    fn load<V: Vector>(x: &[Self; LANES]) -> V;

    /// Stores `x` in `out`, of the same length.
    fn narrow(x: &[f32], out: &mut [Self]);
}

impl Element for f32 {
    const ZERO: f32 = 0.0;

    #[inline(always)]
    fn load<V: Vector>(x: &[f32; LANES]) -> V {
        V::load(x)
    }

    fn narrow(x: &[f32], out: &mut [f32]) {
        out.copy_from_slice(x);
    }
}

impl Element for f16 {
    const ZERO: f16 = f16::ZERO;

    #[inline(always)]
    fn load<V: Vector>(x: &[f16; LANES]) -> V {
        V::load_f16(x)
    }

    fn narrow(x: &[f32], out: &mut [f16]) {
        // An infinity would turn the products with masked (zero) weights into NaN.
        let largest = f16::MAX.to_f32();
        for (x, out) in x.chunks(BLOCK).zip(out.chunks_mut(BLOCK)) {
            let mut clamped = [0.0; BLOCK];
            let clamped = &mut clamped[..x.len()];
            clamped.iter_mut().zip(x).for_each(|(y, x)| *y = x.clamp(-largest, largest));
            out.convert_from_f32_slice(clamped);
        }
    }
}

/// Elements converted at once.
const BLOCK: usize = 64;

/// The cache of one attention layer.
#[derive(Clone, Debug)]
pub struct KvCache {
    shape: HeadShape,
    pages: Pages,
}

/// The pages by the type of their elements.
#[derive(Clone, Debug)]
pub(crate) enum Pages {
    F16(Vec<Vec<f16>>),
    F32(Vec<Vec<f32>>),
}

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

    /// Elements per head and page.
    pub(crate) fn head_len(self) -> usize {
        PAGE * (self.head_dim + self.value_width())
    }

    /// The keys, `[head_dim, PAGE]`, and values, `[PAGE, value_width]`, of head `head` in `page`.
    #[inline(always)]
    pub(crate) fn head<E>(self, page: &[E], head: usize) -> (&[E], &[E]) {
        page[head * self.head_len()..][..self.head_len()].split_at(PAGE * self.head_dim)
    }
}

impl KvCache {
    /// An empty cache for `n_head_kv` heads of `head_dim` elements.
    pub fn new(n_head_kv: usize, head_dim: usize, cache_type: CacheType) -> KvCache {
        let pages = match cache_type {
            CacheType::F16 => Pages::F16(Vec::new()),
            CacheType::F32 => Pages::F32(Vec::new()),
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
        let per_head = head_dim.checked_next_multiple_of(LANES)?.checked_add(head_dim)?;
        let per_position = per_head.checked_mul(n_head_kv)?.checked_mul(cache_type.bytes())?;
        n_positions.checked_next_multiple_of(PAGE)?.checked_mul(per_position)
    }

    /// Makes room for `n_positions`, a page at a time. What is cached stays.
    ///
    /// # Errors
    /// When there is no memory; what was cached is still there.
    pub fn reserve(&mut self, n_positions: usize) -> Result<(), TryReserveError> {
        let n_pages = n_positions.div_ceil(PAGE);
        let page_len = self.shape.n_head_kv * self.shape.head_len();
        fn grow<E: Element>(
            pages: &mut Vec<Vec<E>>,
            n_pages: usize,
            page_len: usize,
        ) -> Result<(), TryReserveError> {
            while pages.len() < n_pages {
                let mut page = Vec::new();
                page.try_reserve_exact(page_len)?;
                page.resize(page_len, E::ZERO);
                pages.push(page);
            }
            Ok(())
        }
        match &mut self.pages {
            Pages::F16(pages) => grow(pages, n_pages, page_len),
            Pages::F32(pages) => grow(pages, n_pages, page_len),
        }
    }

    /// Positions there is room for.
    pub fn capacity(&self) -> usize {
        PAGE * match &self.pages {
            Pages::F16(pages) => pages.len(),
            Pages::F32(pages) => pages.len(),
        }
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
        match &mut self.pages {
            Pages::F16(pages) => write(team, self.shape, pages, first, k, v),
            Pages::F32(pages) => write(team, self.shape, pages, first, k, v),
        }
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
    pages: &mut [Vec<E>],
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
        let page = &mut pages[page_number];
        if 2 * k.len() < GRAIN {
            for (head, page) in page.chunks_exact_mut(shape.head_len()).enumerate() {
                write_head(shape, page, head, slot, k, v);
            }
        } else {
            team.for_each_chunk_mut(page, shape.head_len(), &|head, page| {
                write_head(shape, page, head, slot, k, v)
            });
        }
    }
}

/// Stores one head of consecutive tokens, the first of which has the place `slot` in its page.
fn write_head<E: Element>(
    shape: HeadShape,
    page: &mut [E],
    head: usize,
    slot: usize,
    k: &[f32],
    v: &[f32],
) {
    let HeadShape { n_head_kv, head_dim } = shape;
    let (keys, values) = page.split_at_mut(PAGE * head_dim);
    let width = n_head_kv * head_dim;
    let part = head * head_dim..(head + 1) * head_dim;
    for (i, (k, v)) in k.chunks_exact(width).zip(v.chunks_exact(width)).enumerate() {
        let slot = slot + i;
        E::narrow(&v[part.clone()], &mut values[slot * shape.value_width()..][..head_dim]);
        for (k, keys) in k[part.clone()].chunks(BLOCK).zip(keys.chunks_mut(BLOCK * PAGE)) {
            let mut narrow = [E::ZERO; BLOCK];
            E::narrow(k, &mut narrow[..k.len()]);
            for (key, row) in narrow.iter().zip(keys.chunks_exact_mut(PAGE)) {
                row[slot] = *key;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
                    let (keys, values) = shape.head(&pages[position / PAGE], i / head_dim);
                    let (slot, d) = (position % PAGE, i % head_dim);
                    assert_eq!(keys[d * PAGE + slot], value(position, i));
                    assert_eq!(values[slot * shape.value_width() + d], -value(position, i));
                }
            }
        }
    }

    #[test]
    fn half_precision_saturates_and_keeps_nan() {
        let mut narrow = [f16::ZERO; 4];
        f16::narrow(&[1e9, -1e9, f32::NAN, 0.1], &mut narrow);
        assert_eq!((narrow[0], narrow[1], narrow[3]), (f16::MAX, f16::MIN, f16::from_f32(0.1)));
        assert!(narrow[2].is_nan());
    }

    #[test]
    fn absurd_sizes_are_none() {
        assert_eq!(KvCache::bytes_for(3, 64, CacheType::F16, 129), Some(256 * 3 * 128 * 2));
        assert_eq!(KvCache::bytes_for(3, 64, CacheType::F16, usize::MAX), None);
        assert_eq!(KvCache::bytes_for(usize::MAX, 64, CacheType::F32, 2), None);
    }
}
