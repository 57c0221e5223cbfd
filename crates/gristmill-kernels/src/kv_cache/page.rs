//! [`PAGE`] positions of all key-value heads.

use std::io;
use std::marker::PhantomData;

use gristmill_tensor::zeros_in_large_pages;
use memmap2::MmapMut;
use smallvec::SmallVec;

use super::{Element, HeadShape, PAGE};

/// Memory of a page, zeros until it is written to: the keys of all heads, then the values, then the scales of both.
///
/// What no token has been written to yet takes neither time nor room.
#[derive(Debug)]
pub(crate) struct Page<E> {
    memory: MmapMut,
    elements: PhantomData<E>,
}

/// What a page has of one head. The scales are empty if elements are no codes.
#[derive(Debug)]
pub(crate) struct Parts<C, S> {
    /// `[head_dim, PAGE]`.
    pub(crate) keys: C,
    /// `[PAGE, value_width]`.
    pub(crate) values: C,
    /// `[blocks, PAGE]`.
    pub(crate) key_scales: S,
    /// `[PAGE, blocks]`.
    pub(crate) value_scales: S,
}

/// A head, to be read.
pub(crate) type Head<'a, E> = Parts<&'a [E], &'a [f32]>;
/// The same, to be written.
pub(super) type HeadMut<'a, E> = Parts<&'a mut [E], &'a mut [f32]>;

/// Heads of a page that need no memory from the heap when it is written to.
const FEW_HEADS: usize = 64;

/// How many elements of each part a head has.
fn lengths<E: Element>(shape: HeadShape) -> Parts<usize, usize> {
    let n_scales = if E::SCALED { PAGE * shape.n_blocks() } else { 0 };
    Parts {
        keys: PAGE * shape.head_dim,
        values: PAGE * shape.value_width(),
        key_scales: n_scales,
        value_scales: n_scales,
    }
}

/// Bytes of the elements of a page, which its scales follow.
fn element_bytes<E: Element>(shape: HeadShape) -> usize {
    let len = lengths::<E>(shape);
    shape.n_head_kv * (len.keys + len.values) * size_of::<E>()
}

impl<E: Element> Page<E> {
    /// All zeros.
    pub(super) fn new(shape: HeadShape) -> io::Result<Page<E>> {
        let len = lengths::<E>(shape);
        let scales = shape.n_head_kv * (len.key_scales + len.value_scales) * size_of::<f32>();
        let memory = zeros_in_large_pages(element_bytes::<E>(shape) + scales)?;
        Ok(Page { memory, elements: PhantomData })
    }

    /// Head `number`.
    pub(crate) fn head(&self, shape: HeadShape, number: usize) -> Head<'_, E> {
        let (elements, scales) = self.memory.split_at(element_bytes::<E>(shape));
        let elements: &[E] = bytemuck::cast_slice(elements);
        let scales: &[f32] = if E::SCALED { bytemuck::cast_slice(scales) } else { &[] };
        let (n, len) = (shape.n_head_kv, lengths::<E>(shape));
        Parts {
            keys: &elements[number * len.keys..][..len.keys],
            values: &elements[n * len.keys + number * len.values..][..len.values],
            key_scales: &scales[number * len.key_scales..][..len.key_scales],
            value_scales: &scales[n * len.key_scales + number * len.value_scales..]
                [..len.value_scales],
        }
    }

    /// Every head.
    pub(super) fn heads_mut(&mut self, shape: HeadShape) -> SmallVec<[HeadMut<'_, E>; FEW_HEADS]> {
        fn next<'a, T>(rest: &mut &'a mut [T], len: usize) -> &'a mut [T] {
            rest.split_off_mut(..len).expect("a page has all heads")
        }
        let (elements, scales) = self.memory.split_at_mut(element_bytes::<E>(shape));
        let elements: &mut [E] = bytemuck::cast_slice_mut(elements);
        let scales: &mut [f32] = if E::SCALED { bytemuck::cast_slice_mut(scales) } else { &mut [] };
        let (n, len) = (shape.n_head_kv, lengths::<E>(shape));
        let (mut keys, mut values) = elements.split_at_mut(n * len.keys);
        let (mut key_scales, mut value_scales) = scales.split_at_mut(n * len.key_scales);
        let head = |_| Parts {
            keys: next(&mut keys, len.keys),
            values: next(&mut values, len.values),
            key_scales: next(&mut key_scales, len.key_scales),
            value_scales: next(&mut value_scales, len.value_scales),
        };
        (0..n).map(head).collect()
    }

    /// Bytes that it takes once it is full.
    #[cfg(test)]
    pub(super) fn n_bytes(&self) -> usize {
        self.memory.len()
    }
}
