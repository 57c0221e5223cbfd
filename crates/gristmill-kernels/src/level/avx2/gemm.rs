//! Many tokens: sixteen rows of weights times a few tokens in registers.
//!
//! A panel holds sixteen rows side by side: of each block of 32 weights, register `j` has bytes `4 j .. 4 j + 4` of
//! eight rows. Products stay in 16-bit sums as long as they fit, so that the widening is paid once or twice per block.
#![expect(unsafe_code, reason = "vector loads and stores")]

use std::arch::x86_64::*;
use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::Range;
use std::thread::LocalKey;

use super::gemv::{multiply, prefetch, ready, room, zero_shift};
use super::unpack::Stored;
use crate::Tile;
use crate::level::Level;
use crate::matmul::activations::{Activations, GROUP, Group};
use crate::matmul::gemm::TileKernel;
use crate::matmul::kernels::Rows;

/// Sixteen rows of one block, unpacked and transposed, with `H` scales for each.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Block<const H: usize> {
    codes: [[__m256i; 2]; 8],
    d: [[__m256; 2]; H],
    m: [[__m256; 2]; H],
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
    const ROWS: usize = 16;
    const TOKENS: usize = 2;
    const STEP: usize = 32;
    const SLICE: usize = 2 * GROUP;
    const ZERO: Block<H> = Block::ZERO;

    fn scratch() -> &'static LocalKey<RefCell<Vec<Block<H>>>> {
        Block::<H>::scratch()
    }

    fn pack(rows: &Rows<'_>, steps: Range<usize>, panel: &mut [Block<H>]) {
        assert!(Level::Avx2.is_available() && rows.n_rows() > 0);
        // SAFETY: the CPU has been asked.
        unsafe { pack::<S, H>(rows, steps, panel) }
    }

    fn tile(panel: &[Block<H>], x: &Activations, steps: Range<usize>, y: &mut Tile<'_, f32>) {
        assert!(Level::Avx2.is_available());
        macro_rules! tile_of {
            ($($n:literal)*) => {
                match y.rows().len() {
                    // SAFETY: the CPU has been asked.
                    $($n => unsafe { tile::<S, H, $n>(panel, x, steps, y) },)*
                    n => unreachable!("{n} tokens are more than a tile has"),
                }
            };
        }
        tile_of!(1 2);
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn pack<S: Stored<H>, const H: usize>(
    rows: &Rows<'_>,
    steps: Range<usize>,
    panel: &mut [Block<H>],
) {
    let last = rows.n_rows() - 1;
    let slice = steps.start * S::EIGHT_BYTES / 8..steps.end * S::EIGHT_BYTES / 8;
    // What is packed next: the following slice of each row, or the first slice of the row a panel further on.
    let next =
        if slice.end < rows.row_bytes { slice.len() } else { 16 * rows.row_bytes - slice.start };
    for half in 0..2 {
        // Rows that are not there are copies of the last; nobody looks at their sums.
        let rows: [&[u8]; 8] =
            std::array::from_fn(|i| &rows.row(last.min(8 * half + i))[slice.clone()]);
        rows.iter().for_each(|row| prefetch(row, next));
        for (e, blocks) in panel.chunks_mut(8).enumerate() {
            let eights = rows.map(|row| {
                let rest = &row[e * S::EIGHT_BYTES..];
                &rest[..rest.len().min(S::EIGHT_BYTES)]
            });
            pack_eight::<S, H>(eights, half, blocks);
        }
    }
}

/// Unpacks up to eight blocks of eight rows.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn pack_eight<S: Stored<H>, const H: usize>(rows: [&[u8]; 8], half: usize, panel: &mut [Block<H>]) {
    for (b, block) in panel.iter_mut().enumerate() {
        let mut codes = [_mm256_setzero_si256(); 8];
        for i in 0..8 {
            // SAFETY: this function has the instructions.
            codes[i] = ready::<S, H>(unsafe { S::codes(rows[i], [(b, 0), (b, 1)]) });
        }
        let columns = transpose(codes);
        for j in 0..8 {
            block.codes[j][half] = columns[j];
        }
    }
    let mut d = [[_mm256_setzero_si256(); 8]; H];
    let mut m = d;
    for i in 0..8 {
        // SAFETY: this function has the instructions.
        let scales = unsafe { S::scales(rows[i]) };
        // SAFETY: as above.
        let minima = unsafe { S::minima(rows[i]) };
        for h in 0..H {
            d[h][i] = _mm256_castps_si256(scales[h]);
            m[h][i] = _mm256_castps_si256(minima[h]);
        }
    }
    for h in 0..H {
        for (block, d) in panel.iter_mut().zip(transpose(d[h])) {
            block.d[h][half] = _mm256_castsi256_ps(d);
        }
        if S::HAS_MIN {
            for (block, m) in panel.iter_mut().zip(transpose(m[h])) {
                block.m[h][half] = _mm256_castsi256_ps(m);
            }
        }
    }
}

/// Dword `j` of register `i` goes to dword `i` of register `j`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn transpose(rows: [__m256i; 8]) -> [__m256i; 8] {
    // Inside each 128-bit lane first: register `4 k + j`, lane `l` then holds column `4 l + j` of rows 4k..4k+4.
    let mut quads = rows;
    for k in [0, 4] {
        let low01 = _mm256_unpacklo_epi32(rows[k], rows[k + 1]);
        let high01 = _mm256_unpackhi_epi32(rows[k], rows[k + 1]);
        let low23 = _mm256_unpacklo_epi32(rows[k + 2], rows[k + 3]);
        let high23 = _mm256_unpackhi_epi32(rows[k + 2], rows[k + 3]);
        quads[k] = _mm256_unpacklo_epi64(low01, low23);
        quads[k + 1] = _mm256_unpackhi_epi64(low01, low23);
        quads[k + 2] = _mm256_unpacklo_epi64(high01, high23);
        quads[k + 3] = _mm256_unpackhi_epi64(high01, high23);
    }
    let mut columns = rows;
    for j in 0..4 {
        columns[j] = _mm256_permute2x128_si256::<0x20>(quads[j], quads[4 + j]);
        columns[4 + j] = _mm256_permute2x128_si256::<0x31>(quads[j], quads[4 + j]);
    }
    columns
}

#[target_feature(enable = "avx2,fma,f16c")]
fn tile<S: Stored<H>, const H: usize, const N: usize>(
    panel: &[Block<H>],
    x: &Activations,
    steps: Range<usize>,
    y: &mut Tile<'_, f32>,
) {
    let first = y.rows().start;
    let mut columns: [&[Group]; N] = [&[]; N];
    for n in 0..N {
        columns[n] = &x.int8_row(first + n)[steps.start / GROUP..];
    }
    let mut sums = [[_mm256_setzero_ps(); 2]; N];
    for (g, blocks) in panel.chunks(GROUP).enumerate() {
        let mut group = [&columns[0][g]; N];
        for n in 1..N {
            group[n] = &columns[n][g];
        }
        for (q, blocks) in blocks.chunks(4).enumerate() {
            for (i, block) in blocks.iter().enumerate() {
                for h in 0..H {
                    add_block::<S, H, N>(block, group, q, i, h, &mut sums);
                }
            }
        }
    }
    for n in 0..N {
        write(sums[n], steps.start == 0, y.row_mut(first + n));
    }
}

/// Adds the products of one block of sixteen rows, or of its half `h` if halves have their own scales, with `N` tokens.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn add_block<S: Stored<H>, const H: usize, const N: usize>(
    block: &Block<H>,
    x: [&Group; N],
    q: usize,
    i: usize,
    h: usize,
    sums: &mut [[__m256; 2]; N],
) {
    let b = 4 * q + i;
    let ones = _mm256_set1_epi16(1);
    let mut products = [[_mm256_setzero_si256(); 2]; N];
    if let Some(shift) = zero_shift::<S, H>() {
        for n in 0..N {
            products[n] = [_mm256_set1_epi32(init::<H>(x[n], b, h) >> shift); 2];
        }
    }
    let (dwords, room) = (8 / H, room::<S, H>().min(8 / H));
    for start in (h * dwords..(h + 1) * dwords).step_by(room) {
        let mut narrow = [[_mm256_setzero_si256(); 2]; N];
        for j in start..start + room {
            for n in 0..N {
                let four = x[n].codes[q][j / 4][i].as_chunks::<4>().0[j % 4];
                let four = _mm256_set1_epi32(i32::from_le_bytes(four.map(|code| code as u8)));
                for half in 0..2 {
                    let pairs = multiply::<S, H>(block.codes[j][half], four);
                    narrow[n][half] = _mm256_add_epi16(narrow[n][half], pairs);
                }
            }
        }
        for n in 0..N {
            for half in 0..2 {
                let wide = _mm256_madd_epi16(narrow[n][half], ones);
                products[n][half] = _mm256_add_epi32(products[n][half], wide);
            }
        }
    }
    for n in 0..N {
        let total = x[n].d[b] * (init::<H>(x[n], b, h) as f32 / -128.0);
        for half in 0..2 {
            let scale = _mm256_mul_ps(block.d[h][half], _mm256_set1_ps(x[n].d[b]));
            sums[n][half] =
                _mm256_fmadd_ps(_mm256_cvtepi32_ps(products[n][half]), scale, sums[n][half]);
            if S::HAS_MIN {
                sums[n][half] =
                    _mm256_fmadd_ps(block.m[h][half], _mm256_set1_ps(total), sums[n][half]);
            }
        }
    }
}

/// -128 times the sum of the activations of a block, or of its first or last half.
#[inline(always)]
fn init<const H: usize>(x: &Group, b: usize, h: usize) -> i32 {
    match (H, h) {
        (1, _) => x.init[b],
        (_, 0) => x.init_first[b],
        _ => x.init[b] - x.init_first[b],
    }
}

/// Writes as many of the sums as `y` has elements, or adds them to what is there.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn write(sums: [__m256; 2], first: bool, y: &mut [f32]) {
    let mut values = [0.0; 16];
    for half in 0..2 {
        // SAFETY: eight floats are there.
        unsafe { _mm256_storeu_ps(values[8 * half..8 * half + 8].as_mut_ptr(), sums[half]) };
    }
    for (y, value) in y.iter_mut().zip(values) {
        *y = if first { value } else { *y + value };
    }
}
