//! The hyperparameters: a row of 32-bit words in the order that a [`HeaderLayout`] gives.
//!
//! Any file has some words in these places, so whether they make sense is the first thing that tells the layouts
//! apart. The bounds are beyond every published model.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use gristmill_tensor::{Cursor, HeaderField, HeaderLayout, Metadata, Result, Unsaid, keys};

/// Types of whole files are counted in thousands of the version of the block layouts.
pub(crate) const QUANT_VERSION_FACTOR: u32 = 1000;

/// The most tokens that a vocabulary may have.
pub(crate) const MAX_TOKENS: u32 = 1 << 21;

/// The words of a header that are not metadata.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Header {
    /// Tokens in the vocabulary.
    pub(crate) n_vocab: u32,
    /// Merges behind the vocabulary.
    pub(crate) n_merges: u32,
    /// The type of most weights, as the file numbers it, without the version of the block layouts.
    pub(crate) file_type: u32,
    /// The version of the block layouts that the file type states; 0 where it states none.
    pub(crate) quant_version: u32,
}

/// Reads the words of `layout` into `metadata`.
pub(crate) fn read(
    cursor: &mut Cursor<'_>,
    layout: &HeaderLayout,
    metadata: &mut Metadata,
) -> Result<Header> {
    let key = |suffix: &str| keys::arch(layout.architecture, suffix);
    metadata.set(keys::ARCHITECTURE, layout.architecture);
    let mut header = Header::default();
    for &field in layout.fields {
        let at = cursor.position();
        match field {
            HeaderField::Count(suffix) => {
                let value = cursor.u32()?;
                let bound = bound(suffix);
                if value == 0 || value > bound {
                    let what =
                        format!("{} would be {value}; it should be 1 to {bound}", key(suffix));
                    return Err(cursor.malformed_at(at, what));
                }
                metadata.set(key(suffix), value);
            }
            HeaderField::Float(suffix) => {
                let value = cursor.f32()?;
                if !(0.0..1e4).contains(&value) {
                    let what = format!("{} would be {value}; it should be 0 to 10000", key(suffix));
                    return Err(cursor.malformed_at(at, what));
                }
                if value != 0.0 || suffix == keys::MAX_ALIBI_BIAS {
                    metadata.set(key(suffix), value);
                }
            }
            HeaderField::Flag(suffix) => match cursor.u32()? {
                value @ (0 | 1) => metadata.set(key(suffix), value == 1),
                value => {
                    let what = format!("{} would be {value}; it should be 0 or 1", key(suffix));
                    return Err(cursor.malformed_at(at, what));
                }
            },
            HeaderField::NVocab => {
                header.n_vocab = cursor.u32()?;
                if header.n_vocab == 0 || header.n_vocab > MAX_TOKENS {
                    let what = format!("there would be {} tokens", header.n_vocab);
                    return Err(cursor.malformed_at(at, what));
                }
                metadata.set(key(keys::VOCAB_SIZE), header.n_vocab);
            }
            HeaderField::NVocabAgain => {
                let again = cursor.u32()?;
                if again != header.n_vocab {
                    let what =
                        format!("there would be {} tokens and {again} tokens", header.n_vocab);
                    return Err(cursor.malformed_at(at, what));
                }
            }
            HeaderField::NMult => {
                let n_mult = cursor.u32()?;
                if n_mult == 0 || n_mult > 1 << 20 {
                    let what = format!("n_mult would be {n_mult}; it should be 1 to {}", 1 << 20);
                    return Err(cursor.malformed_at(at, what));
                }
            }
            HeaderField::OneOf(accepted) => {
                let value = cursor.u32()?;
                if !accepted.contains(&value) {
                    let what = format!("a word would be {value}; it should be one of {accepted:?}");
                    return Err(cursor.malformed_at(at, what));
                }
            }
            HeaderField::NMerges => {
                header.n_merges = cursor.u32()?;
                if header.n_merges > header.n_vocab {
                    let what =
                        format!("{} merges would make {} tokens", header.n_merges, header.n_vocab);
                    return Err(cursor.malformed_at(at, what));
                }
            }
            HeaderField::FileType => {
                let value = cursor.u32()?;
                header.file_type = value % QUANT_VERSION_FACTOR;
                header.quant_version = value / QUANT_VERSION_FACTOR;
                if header.quant_version > 2 || header.file_type > 28 {
                    return Err(cursor.malformed_at(at, format!("the file type would be {value}")));
                }
            }
        }
    }
    for (suffix, value) in layout.unsaid {
        match *value {
            Unsaid::Count(value) => metadata.set(key(suffix), value),
            Unsaid::Float(value) => metadata.set(key(suffix), value),
            Unsaid::Flag(value) => metadata.set(key(suffix), value),
        }
    }
    check_heads(cursor, layout, metadata)?;
    Ok(header)
}

/// The most that a count may be.
fn bound(suffix: &str) -> u32 {
    match suffix {
        keys::CONTEXT_LENGTH => 1 << 20,
        keys::BLOCK_COUNT => 512,
        _ => 1 << 16,
    }
}

/// Heads fill the width, and no more of a head is rotated than there is.
fn check_heads(cursor: &Cursor<'_>, layout: &HeaderLayout, metadata: &Metadata) -> Result<()> {
    let count = |suffix: &str| metadata.get_usize(&keys::arch(layout.architecture, suffix));
    let (Some(n_embd), Some(n_head)) = (count(keys::EMBEDDING_LENGTH)?, count(keys::HEAD_COUNT)?)
    else {
        return Ok(());
    };
    let Some(head_dim) = n_embd.checked_div(n_head).filter(|_| n_embd.is_multiple_of(n_head))
    else {
        let what = format!("a width of {n_embd} would be divided among {n_head} heads");
        return Err(cursor.malformed(what));
    };
    match count(keys::ROPE_DIMENSION_COUNT)? {
        Some(n_rot) if n_rot > head_dim || !n_rot.is_multiple_of(2) => {
            let what = format!("{n_rot} of {head_dim} dimensions would be rotated");
            Err(cursor.malformed(what))
        }
        _ => Ok(()),
    }
}
