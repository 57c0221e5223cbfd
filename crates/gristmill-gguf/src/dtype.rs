//! What GGUF adds to the table of dtypes: the numbers that must be refused, and the byte order inside blocks.
//!
//! In a big-endian file, numbers inside quantized blocks are big-endian too, so each field wider than a byte is
//! swapped by itself, never the block as a whole. That is well defined where such fields are declared as 16-bit
//! numbers (scales, minima). Where code reads runs of bytes as wider words (the `qh` of Q5_0, the codes of the IQ2
//! family), the meaning would depend on who wrote the file; those are refused.

use gristmill_tensor::DType;

/// Why a tensor with this type number cannot be read, to follow "tensor x"; for numbers [`DType`] does not know.
pub(crate) fn why_refused(id: u32) -> String {
    const AGAIN: &str = "quantize the original model again";
    let removed = |name| format!("{name}, a layout that ggml removed in May 2023; {AGAIN}");
    let repacked = |name| format!("{name}, a layout that is repacked at runtime now; {AGAIN}");
    let private = |name| format!("{name} of ik_llama.cpp, which no other program reads; {AGAIN}");
    let what = match id {
        4 => removed("Q4_2"),
        5 => removed("Q4_3"),
        31 => repacked("Q4_0_4_4"),
        32 => repacked("Q4_0_4_8"),
        33 => repacked("Q4_0_8_8"),
        36 => format!("either {}, or {}", repacked("IQ4_NL_4_4"), private("I2_S")),
        37 => repacked("IQ4_NL_4_8"),
        38 => repacked("IQ4_NL_8_8"),
        97..=99 | 133..=158 | 202..=399 => private("a private type"),
        _ => "which ggml has not assigned; the file is damaged or newer than this program".into(),
    };
    format!("has the type {id}: {what}")
}

/// Where the fields wider than a byte begin in a block, and their widths; `None` where their big-endian form is
/// undefined.
pub(crate) fn words(dtype: DType) -> Option<&'static [(usize, usize)]> {
    Some(match dtype {
        DType::I8 | DType::MXFP4 | DType::NVFP4 => &[],
        DType::F16 | DType::BF16 | DType::I16 => &[(0, 2)],
        DType::F32 | DType::I32 => &[(0, 4)],
        DType::F64 | DType::I64 => &[(0, 8)],
        // One scale in front.
        DType::Q4_0 | DType::Q8_0 | DType::IQ4_NL | DType::Q1_0 | DType::Q2_0 => &[(0, 2)],
        // A scale and a minimum, or IQ4_XS's high scale bits, in front.
        DType::Q4_1 | DType::Q4_K | DType::Q5_K | DType::IQ4_XS => &[(0, 2), (2, 2)],
        // Scales at the end.
        DType::Q2_K => &[(80, 2), (82, 2)],
        DType::Q3_K => &[(108, 2)],
        DType::Q6_K => &[(208, 2)],
        DType::TQ1_0 => &[(52, 2)],
        DType::TQ2_0 => &[(64, 2)],
        _ => return None,
    })
}

/// Turns whole big-endian blocks into little-endian ones.
pub(crate) fn swap_blocks(dtype: DType, blocks: &mut [u8]) {
    let words = words(dtype).expect("the header refuses dtypes without a big-endian form");
    if words.is_empty() {
        return;
    }
    for block in blocks.chunks_exact_mut(dtype.block_bytes()) {
        for &(start, width) in words {
            block[start..start + width].reverse();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_lie_inside_their_block_and_do_not_overlap() {
        for &dtype in DType::ALL {
            let mut end = 0;
            for &(start, width) in words(dtype).unwrap_or(&[]) {
                assert!(start >= end && start + width <= dtype.block_bytes(), "{dtype}");
                end = start + width;
            }
        }
    }

    #[test]
    fn plain_numbers_are_swapped_whole() {
        for &dtype in DType::ALL {
            if let (Some(words), 1) = (words(dtype), dtype.block_len()) {
                let swapped = words.iter().map(|&(_, width)| width).sum::<usize>();
                assert!(swapped == dtype.block_bytes() || dtype.block_bytes() == 1, "{dtype}");
            }
        }
    }

    #[test]
    fn only_the_scale_of_a_block_is_swapped() {
        let mut blocks: Vec<u8> = (0..36).collect();
        swap_blocks(DType::Q4_0, &mut blocks);
        assert_eq!(blocks[..4], [1, 0, 2, 3]);
        assert_eq!(blocks[18..22], [19, 18, 20, 21]);
    }

    #[test]
    fn every_refused_number_says_why() {
        assert!(why_refused(31).contains("repacked"));
        assert!(why_refused(38).contains("IQ4_NL_8_8"));
        assert!(why_refused(36).contains("ik_llama.cpp"));
        assert!(why_refused(144).contains("ik_llama.cpp"));
        assert!(why_refused(4).contains("Q4_2"));
        assert!(why_refused(43).contains("not assigned"));
    }
}
