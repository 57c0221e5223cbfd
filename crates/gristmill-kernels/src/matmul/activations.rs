//! The activations that products share, in the forms that products need.
//!
//! Float weights take the rows as they are, or in sixteen bits where the CPU multiplies those faster. Quantized weights
//! take them as int8: `x ≈ d * code` with `d = amax / 127`, both kept in f32, rounded to nearest even. Eight blocks of
//! 32 share a scale, those in the same place of eight neighbouring groups of sixteen, which are a section of the row:
//! one lane sums them one after the other, and the scale need be multiplied with only once. That form is made once, by
//! the first product that needs it, and is the same bit for bit at every [`Level`].
//!
//! Where a norm stands before the products, the form is made of each row as soon as it is normalized; only products that
//! take rows as they are have them written to memory.

use super::columns::{PairColumn, WideColumn};
use super::kernels::{Form, TileShape, Way};
use super::source::Source;
use crate::{Level, Norm, Team};

/// Elements per block.
pub(crate) const BLOCK: usize = 32;
/// Elements that are quantized by one task.
const PART: usize = 1 << 13;

/// Blocks per [`Group`].
pub(crate) const GROUP: usize = 16;

/// Groups per section: their blocks share scales with those in the same place of the others. The last section of a row
/// may have fewer.
pub(crate) const SECTION: usize = 8;

/// Elements per section.
pub(crate) const SECTION_LEN: usize = SECTION * GROUP * BLOCK;

/// Sixteen quantized blocks of one row, in the order that the vector units want: see [`Arrangement`]. Blocks past the
/// end of a row are zero.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Group {
    /// Eight lines of 64 codes; arranged in quads, code `16 * half + i` of block `4 * quad + block` is
    /// `codes[quad][half][block][i]`.
    pub codes: [[[[i8; 16]; 4]; 2]; 4],
    /// The same in another order, for one token and weights whose neighbouring blocks share bytes: four lines for the
    /// blocks in low nibbles, four for those in high ones. Only AVX-512 has it.
    pub paired: [[[[i8; 16]; 4]; 4]; 2],
    /// The blocks' scales, the same in all groups of a section.
    pub d: [f32; GROUP],
    /// -128 times the sum of the block's codes: corrects products with weights that were stored plus 128, to make
    /// them unsigned.
    pub init: [i32; GROUP],
    /// The same for the first sixteen codes of the block, for weights with two scales per block.
    pub init_first: [i32; GROUP],
    /// The sum of the block's codes: with `d`, what the minimum of a weight block is multiplied by.
    pub sum: [f32; GROUP],
}

/// How the sixteen blocks of a [`Group`] stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Arrangement {
    /// Four blocks (a quad) fill two lines: the first sixteen codes of each block, then the last sixteen, as the low and
    /// high nibbles of stored 4-bit blocks come. Numbers are in the order of the blocks.
    Quads,
    /// Line `j` has codes `4 j .. 4 j + 4` of all sixteen blocks, so that their products add up in place. Lanes, and
    /// numbers, are in the order that unpacking four quads gives: lane `4 i + q` is block `4 q + i`.
    Dwords,
}

impl Arrangement {
    pub(crate) fn of(level: Level) -> Arrangement {
        if level == Level::Avx512 { Arrangement::Dwords } else { Arrangement::Quads }
    }

    /// Where the numbers of block `b` stand.
    pub(crate) const fn lane(self, b: usize) -> usize {
        match self {
            Arrangement::Quads => b,
            Arrangement::Dwords => 4 * (b % 4) + b / 4,
        }
    }

    /// The codes of block `b`.
    #[inline(always)]
    fn codes(self, group: &Group, b: usize) -> [[i8; 4]; 8] {
        let lines = group.codes.as_flattened();
        let mut codes = [[0; 4]; 8];
        for (j, four) in codes.iter_mut().enumerate() {
            let (line, at) = match self {
                Arrangement::Quads => (2 * (b / 4) + j / 4, 4 * (b % 4) + j % 4),
                Arrangement::Dwords => (j, self.lane(b)),
            };
            *four = lines[line].as_flattened().as_chunks::<4>().0[at];
        }
        codes
    }
}

impl Group {
    pub(crate) const ZERO: Group = Group {
        codes: [[[[0; 16]; 4]; 2]; 4],
        paired: [[[[0; 16]; 4]; 4]; 2],
        d: [0.0; GROUP],
        init: [0; GROUP],
        init_first: [0; GROUP],
        sum: [0.0; GROUP],
    };
}

/// The scale of a block whose largest magnitude has these bits and becomes `largest`, and its inverse.
///
/// Blocks below 2^-100 count as zero, since the inverse would overflow; a block that is not finite gets the scale
/// NaN and codes of zero, so that its products are NaN and nothing else goes wrong.
pub(crate) fn scale_and_inverse(amax_bits: u32, largest: f32) -> (f32, f32) {
    let amax = f32::from_bits(amax_bits);
    if !amax.is_finite() {
        (f32::NAN, 0.0)
    } else if amax < TINY {
        (0.0, 0.0)
    } else {
        (amax / largest, largest / amax)
    }
}

/// 2^-100.
pub(crate) const TINY: f32 = f32::from_bits((127 - 100) << 23);

/// A block of one token as tiles take it; the fields are those of [`Group`].
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct Column {
    pub codes: [[i8; 4]; 8],
    pub d: f32,
    pub init: i32,
    pub init_first: i32,
    pub sum: f32,
}

impl Column {
    /// Block `b` of a group.
    #[inline(always)]
    pub(crate) fn of(group: &Group, arrangement: Arrangement, b: usize) -> Column {
        let lane = arrangement.lane(b);
        Column {
            codes: arrangement.codes(group, b),
            d: group.d[lane],
            init: group.init[lane],
            init_first: group.init_first[lane],
            sum: group.sum[lane],
        }
    }

    /// -128 times the sum of the codes, or of the first (0) or last (1) sixteen of them if halves have their own scale.
    #[inline(always)]
    pub(crate) fn init<const H: usize>(&self, h: usize) -> i32 {
        match (H, h) {
            (1, _) => self.init,
            (_, 0) => self.init_first,
            _ => self.init - self.init_first,
        }
    }

    /// The sum of the codes, or of the first or last sixteen of them.
    #[inline(always)]
    pub(crate) fn sum_of_codes<const H: usize>(&self, h: usize) -> f32 {
        if H == 1 { self.sum } else { self.init::<H>(h) as f32 / -128.0 }
    }

    /// The sum of the values, or of the first or last sixteen of them.
    #[inline(always)]
    pub(crate) fn sum<const H: usize>(&self, h: usize) -> f32 {
        self.d * self.sum_of_codes::<H>(h)
    }
}

/// A matrix of `n_tokens` rows of `n_in` elements, in buffers that are kept from one use to the next.
#[derive(Default)]
pub struct Activations {
    n_in: usize,
    f32: Vec<f32>,
    /// The rows after `is_normalized`.
    normalized: Vec<f32>,
    /// The int8 form of rows.
    groups: Vec<Group>,
    /// The int8 form in tiles.
    columns: Vec<Column>,
    /// The f32 form in tiles.
    floats: Vec<f32>,
    /// The int16 form in tiles.
    wide_columns: Vec<WideColumn>,
    /// The forms in 16-bit floats, of rows or in tiles.
    pair_columns: Vec<PairColumn>,
    /// What products of the F16 form of each row are to be multiplied with.
    factors: Vec<f32>,
    /// The forms that are those of the rows as they are now.
    made: Vec<(Form, Option<TileShape>)>,
    /// Whether the forms are those of normalized rows.
    is_normalized: bool,
    deterministic: bool,
}

impl Activations {
    /// No rows yet.
    pub fn new() -> Activations {
        Activations::default()
    }

    /// The same, for products that have the same bits for each token whatever the others are; see
    /// [`matmul`](crate::matmul).
    pub fn deterministic(self, deterministic: bool) -> Activations {
        Activations { deterministic, ..self }
    }

    pub(crate) fn is_deterministic(&self) -> bool {
        self.deterministic
    }

    /// Takes a copy of `x`, whole rows of `n_in` elements.
    ///
    /// # Panics
    /// When `x` is not a whole, positive number of rows.
    pub fn load(&mut self, team: &Team, x: &[f32], n_in: usize) {
        assert!(n_in > 0 && !x.is_empty() && x.len().is_multiple_of(n_in), "whole rows");
        let rows = self.rows_mut(x.len() / n_in, n_in);
        const PIECE: usize = 1 << 16;
        team.for_each_chunk_mut(rows, PIECE, &|i, piece| {
            piece.copy_from_slice(&x[i * PIECE..][..piece.len()]);
        });
    }

    /// Makes room for `n_tokens` rows of `n_in` elements and gives it to be written, which saves the copy that
    /// [`load`](Self::load) makes. The elements hold anything before.
    ///
    /// # Panics
    /// When either is zero.
    pub fn rows_mut(&mut self, n_tokens: usize, n_in: usize) -> &mut [f32] {
        assert!(n_tokens > 0 && n_in > 0, "at least one row of one element");
        self.n_in = n_in;
        self.f32.resize(n_tokens * n_in, 0.0);
        self.made.clear();
        &mut self.f32
    }

    /// Elements per row.
    pub fn n_in(&self) -> usize {
        self.n_in
    }

    /// Number of rows.
    pub fn n_tokens(&self) -> usize {
        self.f32.len() / self.n_in.max(1)
    }

    /// All rows, as they were loaded.
    pub fn rows(&self) -> &[f32] {
        &self.f32
    }

    /// All rows as products take them.
    pub(crate) fn plain(&self) -> &[f32] {
        if self.is_normalized { &self.normalized } else { &self.f32 }
    }

    /// All rows in their int8 form.
    pub(crate) fn groups(&self) -> &[Group] {
        debug_assert!(self.made.contains(&(Form::Int8, None)));
        &self.groups
    }

    /// All tokens in tiles of int8 blocks.
    pub(crate) fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// All tokens in tiles of floats.
    pub(crate) fn floats(&self) -> &[f32] {
        &self.floats
    }

    /// All tokens in tiles of int16 blocks.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(dead_code, reason = "only AVX-512 multiplies these faster")
    )]
    pub(crate) fn wide_columns(&self) -> &[WideColumn] {
        &self.wide_columns
    }

    /// A token in F16, and what its products are to be multiplied with.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(dead_code, reason = "only AVX-512 multiplies these")
    )]
    pub(crate) fn f16_row(&self, token: usize) -> (&[PairColumn], f32) {
        let n_blocks = self.n_in.div_ceil(BLOCK);
        (&self.pair_columns[token * n_blocks..][..n_blocks], self.factors[token])
    }

    /// All tokens in tiles of BF16 blocks.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(dead_code, reason = "only some CPUs with AVX-512 multiply these")
    )]
    pub(crate) fn pair_columns(&self) -> &[PairColumn] {
        &self.pair_columns
    }

    /// Before products of the rows, or of what `norm` makes of them.
    pub(crate) fn begin(&mut self, norm: Option<Norm<'_>>) {
        // The last norm may have been another.
        if self.is_normalized || norm.is_some() {
            self.made.clear();
        }
        self.is_normalized = norm.is_some();
    }

    /// Makes what a way of multiplying takes, unless it is there; `norm` is that of [`begin`](Self::begin).
    pub(crate) fn make(&mut self, team: &Team, level: Level, way: Way, norm: Option<Norm<'_>>) {
        let wanted = (way.form, way.tiles);
        if self.made.contains(&wanted) {
            return;
        }
        let source = Source::new(&self.f32, self.n_in, norm);
        match wanted {
            (Form::F32, None) => {
                if let Some(norm) = norm {
                    self.normalized.resize(self.f32.len(), 0.0);
                    norm.rows(team, &self.f32, &mut self.normalized);
                }
            }
            (Form::F32, Some(shape)) => {
                source.fill_tiles(team, self.n_in, shape, &mut self.floats, |x, put| {
                    x.iter().enumerate().for_each(|(i, &x)| put.step(i, x));
                });
            }
            (Form::F16, None) => {
                let n_blocks = self.n_in.div_ceil(BLOCK);
                self.pair_columns.resize(source.n_rows() * n_blocks, PairColumn::default());
                self.factors.clear();
                source.for_each(0..source.n_rows(), |row, x| {
                    let blocks = &mut self.pair_columns[row * n_blocks..][..n_blocks];
                    self.factors.push(PairColumn::f16_row(x, blocks));
                });
            }
            (Form::Int16 | Form::Bf16, None) | (Form::F16, Some(_)) => {
                unreachable!("tiles are of integers or BF16, single rows of F16")
            }
            (Form::Int16, Some(shape)) => {
                let n_blocks = self.n_in.div_ceil(BLOCK);
                source.fill_tiles(team, n_blocks, shape, &mut self.wide_columns, |x, put| {
                    let blocks = x.chunks(BLOCK).enumerate();
                    blocks.for_each(|(b, x)| put.step(b, WideColumn::of(x)));
                });
            }
            (Form::Bf16, Some(shape)) => {
                let n_blocks = self.n_in.div_ceil(BLOCK);
                source.fill_tiles(team, n_blocks, shape, &mut self.pair_columns, |x, put| {
                    let blocks = x.chunks(BLOCK).enumerate();
                    blocks.for_each(|(b, x)| put.step(b, PairColumn::bf16(x)));
                });
            }
            (Form::Int8, None) => {
                let n_groups = self.n_in.div_ceil(BLOCK * GROUP);
                self.groups.resize(source.n_rows() * n_groups, Group::ZERO);
                let (quantize, rows_per_part) = (quantizer(level), (PART / self.n_in).max(1));
                team.for_each_chunk_mut(
                    &mut self.groups,
                    rows_per_part * n_groups,
                    &|i, groups| {
                        let first = i * rows_per_part;
                        source.for_each(first..first + groups.len() / n_groups, |row, x| {
                            let groups = &mut groups[row * n_groups..][..n_groups];
                            let sections = x.chunks(SECTION_LEN).zip(groups.chunks_mut(SECTION));
                            sections.for_each(|(x, groups)| quantize(x, groups));
                        });
                    },
                );
            }
            (Form::Int8, Some(shape)) => {
                let (quantize, n_blocks) = (quantizer(level), self.n_in.div_ceil(BLOCK));
                let arrangement = Arrangement::of(level);
                source.fill_tiles(team, n_blocks, shape, &mut self.columns, |x, put| {
                    for (section, x) in x.chunks(SECTION_LEN).enumerate() {
                        let mut groups = [Group::ZERO; SECTION];
                        quantize(x, &mut groups[..x.len().div_ceil(GROUP * BLOCK)]);
                        for b in 0..x.len().div_ceil(BLOCK) {
                            let column = Column::of(&groups[b / GROUP], arrangement, b % GROUP);
                            put.step(section * SECTION * GROUP + b, column);
                        }
                    }
                });
            }
        }
        self.made.push(wanted);
    }
}

/// Quantizes the groups of a section, or fewer at the end of a row; the last may be cut short.
type Quantize = fn(&[f32], &mut [Group]);

fn quantizer(level: Level) -> Quantize {
    match level {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => crate::level::avx512::quantize,
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 | Level::AvxVnni => crate::level::avx2::quantize,
        _ => crate::level::portable::quantize,
    }
}
