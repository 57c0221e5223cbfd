//! Many tokens: 32 rows of weights times a few tokens in registers, at the pace of the two VNNI pipes.
//!
//! A panel holds 32 rows side by side: of each block of 32 weights, register `j` has bytes `4 j .. 4 j + 4` of sixteen
//! rows. One dword of activations, broadcast, meets two such registers, so there is one broadcast load for two
//! `vpdpbusd` and no shuffle. Codes are stored plus 128 minus their zero, which makes every type unsigned with the same
//! correction, so that one tile kernel serves all. Per block of 32: 16 `vpdpbusd` per token, then per register a
//! conversion, a product of the scales and an FMA (and a second FMA for types with a minimum).
#![expect(unsafe_code, reason = "vector loads and stores")]

use std::arch::x86_64::*;
use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::Range;
use std::thread::LocalKey;

use super::gemv::prefetch;
use super::transpose::transpose;
use super::unpack::{Stored, nibbles};
use crate::Tile;
use crate::level::Level;
use crate::matmul::activations::{Activations, GROUP, Group};
use crate::matmul::gemm::TileKernel;
use crate::matmul::kernels::Rows;

/// 32 rows of one block, unpacked and transposed, with `H` scales for each.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Block<const H: usize> {
    codes: [[__m512i; 2]; 8],
    d: [[__m512; 2]; H],
    m: [[__m512; 2]; H],
}

impl<const H: usize> Block<H> {
    // SAFETY: all bits zero are integers and floats.
    const ZERO: Block<H> = unsafe { std::mem::zeroed() };
}

/// Memory for panels, one per thread and size of block.
pub(crate) trait Scratch: Sized + 'static {
    fn scratch() -> &'static LocalKey<RefCell<Vec<Self>>>;
}

macro_rules! scratch {
    ($($h:literal)*) => { $(
        impl Scratch for Block<$h> {
            fn scratch() -> &'static LocalKey<RefCell<Vec<Self>>> {
                thread_local! { static PANEL: RefCell<Vec<Block<$h>>> = const { RefCell::new(Vec::new()) } }
                &PANEL
            }
        }
    )* };
}

scratch! { 1 2 }

/// The kernel for weights stored as `S`.
pub(crate) struct Int8<S, const H: usize>(PhantomData<S>);

impl<S: Stored<H>, const H: usize> TileKernel for Int8<S, H>
where
    Block<H>: Scratch,
{
    type Block = Block<H>;
    const ROWS: usize = 32;
    const TOKENS: usize = 6;
    const STEP: usize = 32;
    const SLICE: usize = 4 * GROUP;
    const ZERO: Block<H> = Block::ZERO;

    fn scratch() -> &'static LocalKey<RefCell<Vec<Block<H>>>> {
        Block::<H>::scratch()
    }

    fn pack(rows: &Rows<'_>, steps: Range<usize>, panel: &mut [Block<H>]) {
        assert!(Level::Avx512.is_available() && rows.n_rows() > 0);
        // SAFETY: the CPU has been asked.
        unsafe { pack::<S, H>(rows, steps, panel) }
    }

    fn tile(panel: &[Block<H>], x: &Activations, steps: Range<usize>, y: &mut Tile<'_, f32>) {
        assert!(Level::Avx512.is_available());
        macro_rules! tile_of {
            ($($n:literal)*) => {
                match (y.rows().len(), S::HAS_MIN) {
                    // SAFETY: the CPU has been asked.
                    $(($n, false) => unsafe { tile::<H, $n, false>(panel, x, steps, y) },
                    // SAFETY: as above.
                    ($n, true) => unsafe { tile::<H, $n, true>(panel, x, steps, y) },)*
                    (n, _) => unreachable!("{n} tokens are more than a tile has"),
                }
            };
        }
        tile_of!(1 2 3 4 5 6);
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn pack<S: Stored<H>, const H: usize>(
    rows: &Rows<'_>,
    steps: Range<usize>,
    panel: &mut [Block<H>],
) {
    let last = rows.n_rows() - 1;
    let slice = steps.start * S::QUAD_BYTES / 4..steps.end * S::QUAD_BYTES / 4;
    // What is packed next: the following slice of each row, or the first slice of the row a panel further on.
    let next =
        if slice.end < rows.row_bytes { slice.len() } else { 32 * rows.row_bytes - slice.start };
    for half in 0..2 {
        // Rows that are not there are copies of the last; nobody looks at their sums.
        let sixteen: [&[u8]; 16] =
            std::array::from_fn(|i| &rows.row(last.min(16 * half + i))[slice.clone()]);
        for (g, blocks) in panel.chunks_mut(GROUP).enumerate() {
            let start = g * 4 * S::QUAD_BYTES;
            let group = sixteen.map(|row| &row[start..][..blocks.len() * S::QUAD_BYTES / 4]);
            group.iter().for_each(|row| prefetch(row, next));
            if blocks.len() == GROUP {
                pack_group::<S, H, true>(group, half, blocks);
            } else {
                pack_group::<S, H, false>(group, half, blocks);
            }
        }
    }
}

/// Unpacks up to sixteen blocks of sixteen rows.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn pack_group<S: Stored<H>, const H: usize, const FULL: bool>(
    rows: [&[u8]; 16],
    half: usize,
    panel: &mut [Block<H>],
) {
    for (q, blocks) in panel.chunks_mut(4).enumerate() {
        if S::NIBBLES {
            pack_nibbles::<S, H, FULL>(rows, q, half, blocks);
        } else {
            pack_codes::<S, H, FULL>(rows, q, half, blocks);
        }
    }
    let mut numbers = [[_mm512_setzero_si512(); 16]; H];
    for i in 0..16 {
        // SAFETY: this function has the instructions.
        let scales = unsafe { S::scales::<FULL>(rows[i]) };
        for h in 0..H {
            numbers[h][i] = _mm512_castps_si512(scales[h]);
        }
    }
    for h in 0..H {
        for (block, d) in panel.iter_mut().zip(transpose(numbers[h])) {
            block.d[h][half] = _mm512_castsi512_ps(d);
        }
    }
    if S::HAS_MIN {
        for i in 0..16 {
            // SAFETY: this function has the instructions.
            let minima = unsafe { S::minima::<FULL>(rows[i]) };
            for h in 0..H {
                numbers[h][i] = _mm512_castps_si512(minima[h]);
            }
        }
        for h in 0..H {
            for (block, m) in panel.iter_mut().zip(transpose(numbers[h])) {
                block.m[h][half] = _mm512_castsi512_ps(m);
            }
        }
    }
}

/// What is added to codes so that all types are unsigned around 128.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn offset<S: Stored<H>, const H: usize>() -> __m512i {
    let zero = if S::HAS_MIN { 0 } else { 1 << S::ZERO_LOG2 };
    _mm512_set1_epi8((128 - zero) as u8 as i8)
}

/// Unpacks four blocks of sixteen rows of plain nibbles, which are transposed before they are split.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn pack_nibbles<S: Stored<H>, const H: usize, const FULL: bool>(
    rows: [&[u8]; 16],
    q: usize,
    half: usize,
    blocks: &mut [Block<H>],
) {
    let mut bytes = [_mm512_setzero_si512(); 16];
    for i in 0..16 {
        // SAFETY: this function has the instructions.
        bytes[i] = unsafe { S::bytes::<FULL>(rows[i], q) };
    }
    let columns = transpose(bytes);
    for lane in 0..4 {
        for j in 0..4 {
            let codes = nibbles(columns[4 * lane + j]);
            for nibble in 0..2 {
                let (b, part) = S::place(lane, nibble);
                // SAFETY: this function has the instructions.
                let codes = unsafe { S::codes(codes[nibble]) };
                if let Some(block) = blocks.get_mut(b) {
                    block.codes[4 * part + j][half] = _mm512_add_epi8(codes, offset::<S, H>());
                }
            }
        }
    }
}

/// Unpacks four blocks of sixteen rows of other codes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn pack_codes<S: Stored<H>, const H: usize, const FULL: bool>(
    rows: [&[u8]; 16],
    q: usize,
    half: usize,
    blocks: &mut [Block<H>],
) {
    for part in 0..2 {
        let mut codes = [_mm512_setzero_si512(); 16];
        for i in 0..16 {
            // SAFETY: this function has the instructions.
            codes[i] = unsafe { S::quad::<FULL>(rows[i], q) }[part];
        }
        let columns = transpose(codes);
        for (b, block) in blocks.iter_mut().enumerate() {
            for j in 0..4 {
                block.codes[4 * part + j][half] =
                    _mm512_add_epi8(columns[4 * b + j], offset::<S, H>());
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn tile<const H: usize, const N: usize, const MIN: bool>(
    panel: &[Block<H>],
    x: &Activations,
    steps: Range<usize>,
    y: &mut Tile<'_, f32>,
) {
    let first_group = steps.start / GROUP;
    let mut columns: [&[Group]; N] = [&[]; N];
    for n in 0..N {
        columns[n] = &x.int8_row(y.rows().start + n)[first_group..];
    }
    let mut sums = [[_mm512_setzero_ps(); 2]; N];
    for (g, blocks) in panel.chunks(GROUP).enumerate() {
        let mut group = [&columns[0][g]; N];
        for n in 1..N {
            group[n] = &columns[n][g];
        }
        for (q, blocks) in blocks.chunks(4).enumerate() {
            for (i, block) in blocks.iter().enumerate() {
                for h in 0..H {
                    add_block::<H, N, MIN>(block, group, q, i, h, &mut sums);
                }
            }
        }
    }
    write(sums, steps.start == 0, y);
}

/// Adds the products of one block, or of its half `h` if halves have their own scales.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn add_block<const H: usize, const N: usize, const MIN: bool>(
    block: &Block<H>,
    x: [&Group; N],
    q: usize,
    i: usize,
    h: usize,
    sums: &mut [[__m512; 2]; N],
) {
    let b = 4 * q + i;
    let mut products = [[_mm512_setzero_si512(); 2]; N];
    for n in 0..N {
        products[n] = [_mm512_set1_epi32(init::<H>(x[n], b, h)); 2];
    }
    for j in h * 4..(h + 2 / H) * 4 {
        let codes = block.codes[j];
        for n in 0..N {
            let four = x[n].codes[q][j / 4][i].as_chunks::<4>().0[j % 4];
            let four = _mm512_set1_epi32(i32::from_le_bytes(four.map(|code| code as u8)));
            for half in 0..2 {
                products[n][half] = _mm512_dpbusd_epi32(products[n][half], codes[half], four);
            }
        }
    }
    for n in 0..N {
        for half in 0..2 {
            let scale = _mm512_mul_ps(block.d[h][half], _mm512_set1_ps(x[n].d[b]));
            sums[n][half] =
                _mm512_fmadd_ps(_mm512_cvtepi32_ps(products[n][half]), scale, sums[n][half]);
            if MIN {
                let total = if H == 1 {
                    x[n].dsum[b]
                } else {
                    x[n].d[b] * (init::<H>(x[n], b, h) as f32 / -128.0)
                };
                sums[n][half] =
                    _mm512_fmadd_ps(block.m[h][half], _mm512_set1_ps(total), sums[n][half]);
            }
        }
    }
}

/// -128 times the sum of the activations of a block, or of its first or last half.
#[inline]
fn init<const H: usize>(x: &Group, b: usize, h: usize) -> i32 {
    match (H, h) {
        (1, _) => x.init[b],
        (_, 0) => x.init_first[b],
        _ => x.init[b] - x.init_first[b],
    }
}

/// Writes the sums of a tile, or adds them to what is there.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn write<const N: usize>(sums: [[__m512; 2]; N], first: bool, y: &mut Tile<'_, f32>) {
    let (n_tokens, n_rows) = (y.rows().len(), y.columns().len());
    assert!(n_tokens == N && n_rows <= 32, "the tile's size");
    let masks = [(1u32 << n_rows.min(16)) - 1, (1u32 << n_rows.saturating_sub(16)) - 1];
    let (start, stride) = y.raw();
    for n in 0..N {
        for half in 0..2 {
            let (mask, at) = (masks[half] as __mmask16, start.wrapping_add(n * stride + 16 * half));
            let mut sum = sums[n][half];
            if !first {
                // SAFETY: the mask lets through only elements of the tile.
                sum = _mm512_add_ps(unsafe { _mm512_maskz_loadu_ps(mask, at) }, sum);
            }
            // SAFETY: as above, and the tile is ours to write.
            unsafe { _mm512_mask_storeu_ps(at, mask, sum) };
        }
    }
}
