//! Which type each tensor is stored in, given the one word the user said.
//!
//! The rules are those of llama.cpp's converter and quantizer, so that files of the two are the same, byte by byte,
//! with one exception:
//!
//! | tensor | F32, F16, BF16 | Q8_0 | Q4_0, Q4_1, Q5_0, Q5_1 |
//! |---|---|---|---|
//! | vectors, norms, biases, learned positions | F32 | F32 | F32 |
//! | output matrix, or the embedding where it is both | as asked | Q8_0 | **Q8_0** |
//! | all other matrices | as asked | as asked | as asked |
//! | … whose rows are not whole blocks | | F16 | F16 |
//!
//! The exception is the output matrix of 4- and 5-bit files: llama.cpp takes Q6_K where rows allow it (and Q8_0 where
//! they do not). There is no Q6_K encoder here, so it is Q8_0 always: a little larger, and more exact.

use gristmill_arch::{Architecture, Role};
use gristmill_tensor::{Checkpoint, DType, TensorInfo, keys};

use crate::translate::{EMBEDDING, OUTPUT};
use crate::{Note, OutType, Result};

pub(crate) struct Policy {
    outtype: OutType,
    /// `None` when the file is of an architecture that the house does not know: it can be quantized all the same.
    arch: Option<&'static dyn Architecture>,
    /// The matrix that gives the logits.
    output: &'static str,
}

impl Policy {
    pub(crate) fn new(source: &dyn Checkpoint, outtype: OutType) -> Result<Policy> {
        let arch = source.metadata().get_str(keys::ARCHITECTURE)?.and_then(gristmill_arch::find);
        let output = if source.find(OUTPUT).is_some() { OUTPUT } else { EMBEDDING };
        Ok(Policy { outtype, arch, output })
    }

    /// The type that `info` is stored in, and a remark when it is not the one asked for.
    pub(crate) fn dtype(&self, info: &TensorInfo) -> (DType, Option<Note>) {
        if !self.is_matrix(info) {
            return (DType::F32, None);
        }
        let asked = self.outtype.dtype();
        let wanted = match asked {
            _ if !asked.is_quantized() => asked,
            _ if info.name == self.output => DType::Q8_0,
            _ => asked,
        };
        let (tensor, row_len) = (info.name.clone(), info.shape.row_len());
        if wanted.row_bytes(row_len).is_none() {
            let stored = DType::F16;
            return (stored, Some(Note::RowNotWholeBlocks { tensor, row_len, wanted, stored }));
        }
        let note = (wanted != asked).then_some(Note::ExactOutput { tensor, stored: wanted });
        (wanted, note)
    }

    /// Whether a tensor is one of the large matrices, which are what the user's word is about.
    fn is_matrix(&self, info: &TensorInfo) -> bool {
        let role = self.arch.and_then(|arch| gristmill_arch::role_of(arch, &info.name));
        let role = role.unwrap_or_else(|| guess(&info.name));
        info.shape.rank() >= 2 && matches!(role, Role::Embedding | Role::Linear | Role::Output)
    }
}

/// The role of a tensor of an unknown architecture, by the conventions of GGUF's names.
fn guess(name: &str) -> Role {
    if !name.ends_with(".weight") {
        Role::Bias
    } else if name.ends_with("_norm.weight") || name.contains("ffn_gate_inp") {
        Role::Norm
    } else if name.starts_with("position_embd") || name.starts_with("token_types") {
        Role::Position
    } else {
        Role::Linear
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(arch: Option<&str>, output: &'static str, outtype: OutType) -> Vec<DType> {
        let policy = Policy { outtype, arch: arch.and_then(gristmill_arch::find), output };
        [
            TensorInfo::new("token_embd.weight", DType::F32, [50, 64]),
            TensorInfo::new("output.weight", DType::F32, [50, 64]),
            TensorInfo::new("output.bias", DType::F32, [50]),
            TensorInfo::new("output_norm.weight", DType::F32, [64]),
            TensorInfo::new("blk.3.ffn_up.weight", DType::F32, [128, 64]),
            TensorInfo::new("blk.3.attn_q.weight", DType::F32, [64, 40]),
        ]
        .map(|info| policy.dtype(&info).0)
        .to_vec()
    }

    #[test]
    fn matrices_are_as_asked_and_vectors_stay_f32() {
        use DType::*;
        for arch in [Some("gptj"), None] {
            assert_eq!(types(arch, OUTPUT, OutType::BF16), [BF16, BF16, F32, F32, BF16, BF16]);
            assert_eq!(types(arch, OUTPUT, OutType::Q8_0), [Q8_0, Q8_0, F32, F32, Q8_0, F16]);
            assert_eq!(types(arch, OUTPUT, OutType::Q4_1), [Q4_1, Q8_0, F32, F32, Q4_1, F16]);
        }
    }

    #[test]
    fn an_embedding_that_is_the_output_too_is_kept_exact() {
        assert_eq!(types(Some("mpt"), EMBEDDING, OutType::Q5_0)[0], DType::Q8_0);
    }

    #[test]
    fn norms_of_unknown_architectures_are_known_by_their_names() {
        assert_eq!(guess("blk.0.attn_norm.weight"), Role::Norm);
        assert_eq!(guess("blk.0.attn_q.bias"), Role::Bias);
        assert_eq!(guess("position_embd.weight"), Role::Position);
        assert_eq!(guess("blk.0.attn_q.weight"), Role::Linear);
    }
}
