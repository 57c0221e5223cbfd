//! Products with F32, F16 and BF16 weights, which are widened (exactly) on the way into the registers.
#![expect(unsafe_code, reason = "vector loads")]

use std::arch::x86_64::*;
use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::Range;
use std::thread::LocalKey;

use super::gemm::write;
use super::gemv::{PREFETCH, prefetch};
use super::transpose::transpose;
use crate::Tile;
use crate::level::Level;
use crate::matmul::activations::Activations;
use crate::matmul::gemm::TileKernel;
use crate::matmul::kernels::Rows;
use crate::matmul::matrix::dequantize;
use gristmill_tensor::DType;

/// A plain number type.
pub(crate) trait Float: 'static {
    const BYTES: usize;

    /// Sixteen numbers from the start of `bytes`, zero past its end.
    ///
    /// # Safety
    /// The CPU has the instructions of this level.
    unsafe fn load(bytes: &[u8]) -> __m512;
}

pub(crate) struct F32;
pub(crate) struct F16;
pub(crate) struct Bf16;

impl Float for F32 {
    const BYTES: usize = 4;

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn load(bytes: &[u8]) -> __m512 {
        let mask = first((bytes.len() / 4).min(16));
        // SAFETY: the mask lets through only numbers that are there.
        unsafe { _mm512_maskz_loadu_ps(mask, bytes.as_ptr().cast()) }
    }
}

impl Float for F16 {
    const BYTES: usize = 2;

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn load(bytes: &[u8]) -> __m512 {
        _mm512_cvtph_ps(load_words(bytes))
    }
}

impl Float for Bf16 {
    const BYTES: usize = 2;

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn load(bytes: &[u8]) -> __m512 {
        _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(load_words(bytes))))
    }
}

/// Up to sixteen words from the start of `bytes`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn load_words(bytes: &[u8]) -> __m256i {
    let mask = first((bytes.len() / 2).min(16));
    // SAFETY: the mask lets through only words that are there.
    unsafe { _mm256_maskz_loadu_epi16(mask, bytes.as_ptr().cast()) }
}

/// A mask of the first `n` of sixteen.
fn first(n: usize) -> __mmask16 {
    ((1u32 << n) - 1) as __mmask16
}

/// Elements that are dequantized at a time; every block type has a divisor of it as its length.
const PIECE: usize = 256;

/// One product per row: four independent sums, since an FMA takes four cycles.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn gemv<F: Float>(rows: &Rows<'_>, x: &[f32], y: &mut [f32]) {
    for (row, y) in rows.iter().zip(y) {
        let mut sums = [_mm512_setzero_ps(); 4];
        for (weights, x) in row.chunks(64 * F::BYTES).zip(x.chunks(64)) {
            prefetch(weights, PREFETCH);
            if let Ok(x) = <&[f32; 64]>::try_from(x) {
                sums = add::<F>(&weights[..64 * F::BYTES], x, sums);
            } else {
                sums = add::<F>(weights, x, sums);
            }
        }
        *y = total(sums);
    }
}

/// One product per row of a type that is dequantized piece by piece.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
pub(super) fn gemv_dequantized(rows: &Rows<'_>, x: &[f32], y: &mut [f32]) {
    let piece_bytes = rows.dtype.row_bytes(PIECE).expect("a piece is whole blocks");
    let mut piece = [0.0; PIECE];
    for (row, y) in rows.iter().zip(y) {
        let mut sums = [_mm512_setzero_ps(); 4];
        for (weights, x) in row.chunks(piece_bytes).zip(x.chunks(PIECE)) {
            let piece = &mut piece[..x.len()];
            dequantize(rows.dtype, weights, piece);
            for (i, (weights, x)) in piece.chunks(16).zip(x.chunks(16)).enumerate() {
                sums[i % 4] = _mm512_fmadd_ps(load_floats(weights), load_floats(x), sums[i % 4]);
            }
        }
        *y = total(sums);
    }
}

/// Adds the products of up to 64 weights.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn add<F: Float>(weights: &[u8], x: &[f32], mut sums: [__m512; 4]) -> [__m512; 4] {
    for (i, (weights, x)) in weights.chunks(16 * F::BYTES).zip(x.chunks(16)).enumerate() {
        // SAFETY: this function has the instructions.
        let weights = unsafe { F::load(weights) };
        sums[i % 4] = _mm512_fmadd_ps(weights, load_floats(x), sums[i % 4]);
    }
    sums
}

/// Up to sixteen floats from the start of `values`, zero past its end.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn load_floats(values: &[f32]) -> __m512 {
    // SAFETY: the mask lets through only numbers that are there.
    unsafe { _mm512_maskz_loadu_ps(first(values.len().min(16)), values.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn total(sums: [__m512; 4]) -> f32 {
    let halves = [_mm512_add_ps(sums[0], sums[1]), _mm512_add_ps(sums[2], sums[3])];
    _mm512_reduce_add_ps(_mm512_add_ps(halves[0], halves[1]))
}

/// 32 rows of one column of weights.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Column([__m512; 2]);

/// How sixteen rows of weights become floats while they are packed.
pub(crate) trait Widen: 'static {
    /// Sixteen registers, one per row, of the (up to) sixteen elements from `start` of each row.
    ///
    /// # Safety
    /// The CPU has the instructions of this level.
    unsafe fn pack(
        rows: [&[u8]; 16],
        steps: Range<usize>,
        dtype: DType,
        half: usize,
        panel: &mut [Column],
    );
}

impl<F: Float> Widen for F {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn pack(
        rows: [&[u8]; 16],
        steps: Range<usize>,
        _: DType,
        half: usize,
        panel: &mut [Column],
    ) {
        for (i, columns) in panel.chunks_mut(16).enumerate() {
            let start = (steps.start + 16 * i) * F::BYTES;
            let mut numbers = [_mm512_setzero_si512(); 16];
            for r in 0..16 {
                // SAFETY: this function has the instructions.
                numbers[r] = _mm512_castps_si512(unsafe { F::load(&rows[r][start..]) });
            }
            store(numbers, half, columns);
        }
    }
}

/// Any type that has a codec.
pub(crate) struct Dequantized;

impl Widen for Dequantized {
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
    unsafe fn pack(
        rows: [&[u8]; 16],
        steps: Range<usize>,
        dtype: DType,
        half: usize,
        panel: &mut [Column],
    ) {
        let bytes = |n_steps| dtype.row_bytes(n_steps).expect("slices are whole blocks");
        let mut pieces = [[0.0; PIECE]; 16];
        for (row, piece) in rows.iter().zip(&mut pieces) {
            dequantize(
                dtype,
                &row[bytes(steps.start)..bytes(steps.end)],
                &mut piece[..steps.len()],
            );
        }
        for (i, columns) in panel.chunks_mut(16).enumerate() {
            let mut numbers = [_mm512_setzero_si512(); 16];
            for r in 0..16 {
                numbers[r] = _mm512_castps_si512(load_floats(&pieces[r][16 * i..]));
            }
            store(numbers, half, columns);
        }
    }
}

/// Writes sixteen rows of up to sixteen columns side by side.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn store(numbers: [__m512i; 16], half: usize, columns: &mut [Column]) {
    for (column, numbers) in columns.iter_mut().zip(transpose(numbers)) {
        column.0[half] = _mm512_castsi512_ps(numbers);
    }
}

/// The tile kernel: 32 rows times eight tokens, one broadcast load for two FMAs.
pub(crate) struct Wide<F>(PhantomData<F>);

impl<F: Widen> TileKernel for Wide<F> {
    type Block = Column;
    const ROWS: usize = 32;
    const TOKENS: usize = 8;
    const STEP: usize = 1;
    const SLICE: usize = PIECE;
    // SAFETY: all bits zero are floats.
    const ZERO: Column = unsafe { std::mem::zeroed() };

    fn scratch() -> &'static LocalKey<RefCell<Vec<Column>>> {
        thread_local! { static PANEL: RefCell<Vec<Column>> = const { RefCell::new(Vec::new()) } }
        &PANEL
    }

    fn pack(rows: &Rows<'_>, steps: Range<usize>, panel: &mut [Column]) {
        assert!(Level::Avx512.is_available() && rows.n_rows() > 0);
        let last = rows.n_rows() - 1;
        for half in 0..2 {
            // Rows that are not there are copies of the last; nobody looks at their sums.
            let sixteen = std::array::from_fn(|i| rows.row(last.min(16 * half + i)));
            // SAFETY: the CPU has been asked.
            unsafe { F::pack(sixteen, steps.clone(), rows.dtype, half, panel) }
        }
    }

    fn tile(panel: &[Column], x: &Activations, steps: Range<usize>, y: &mut Tile<'_, f32>) {
        assert!(Level::Avx512.is_available());
        macro_rules! tile_of {
            ($($n:literal)*) => {
                match y.rows().len() {
                    // SAFETY: the CPU has been asked.
                    $($n => unsafe { tile::<$n>(panel, x, steps, y) },)*
                    n => unreachable!("{n} tokens are more than a tile has"),
                }
            };
        }
        tile_of!(1 2 3 4 5 6 7 8);
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512vbmi")]
fn tile<const N: usize>(
    panel: &[Column],
    x: &Activations,
    steps: Range<usize>,
    y: &mut Tile<'_, f32>,
) {
    let mut xs: [&[f32]; N] = [&[]; N];
    for n in 0..N {
        xs[n] = &x.row(y.rows().start + n)[steps.clone()][..panel.len()];
    }
    let mut sums = [[_mm512_setzero_ps(); 2]; N];
    for (k, column) in panel.iter().enumerate() {
        for n in 0..N {
            let value = _mm512_set1_ps(xs[n][k]);
            for half in 0..2 {
                sums[n][half] = _mm512_fmadd_ps(column.0[half], value, sums[n][half]);
            }
        }
    }
    write(sums, steps.start == 0, y);
}
