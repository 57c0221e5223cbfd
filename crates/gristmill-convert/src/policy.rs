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
//! That is the [`Mixture::Fine`]; the others leave the output matrix as asked for.
//!
//! The exception is the output matrix of 4- and 5-bit files: llama.cpp takes Q6_K where rows allow it (and Q8_0 where
//! they do not). There is no Q6_K encoder here, so it is Q8_0 always: a little larger, and more exact.

use std::collections::BTreeMap;

use gristmill_arch::{Architecture, Dialect, Role};
use gristmill_tensor::{Checkpoint, DType, TensorInfo, keys};

use crate::{ConvertOptions, Mixture, Note, OutType, Result};

pub(crate) struct Policy {
    outtype: OutType,
    mixture: Mixture,
    /// `None` when the file is of an architecture that the house does not know: it can be quantized all the same.
    arch: Option<&'static dyn Architecture>,
    /// What the matrix that gives the logits is for.
    output: Role,
    /// The type of all matrices of a copy, where loaders want one type.
    common: Option<DType>,
}

impl Policy {
    pub(crate) fn new(source: &dyn Checkpoint, options: &ConvertOptions) -> Result<Policy> {
        let arch = source.metadata().get_str(keys::ARCHITECTURE)?.and_then(gristmill_arch::find);
        let &ConvertOptions { outtype, mixture, .. } = options;
        let mut policy = Policy { outtype, mixture, arch, output: Role::Output, common: None };
        if !source.tensors().iter().any(|info| policy.role(&info.name) == Role::Output) {
            policy.output = Role::Embedding;
        }
        if outtype == OutType::COPY && !matches!(mixture, Mixture::Fine | Mixture::Plain) {
            let matrices = source.tensors().iter().filter(|i| is_matrix(i, policy.role(&i.name)));
            let kept = matrices.map(|info| (policy.kept(info, Role::Linear).0, info.shape.numel()));
            policy.common = prevailing(kept);
        }
        Ok(policy)
    }

    /// The type that `info` is stored in, as today's layouts have it, and a remark when it is not the one asked for.
    pub(crate) fn dtype(&self, info: &TensorInfo) -> (DType, Option<Note>) {
        let (role, plain) = (self.role(&info.name), self.mixture == Mixture::Plain);
        let Some(asked) = self.outtype.dtype().or(self.common) else {
            return self.kept(info, role);
        };
        if !(plain || is_matrix(info, role)) {
            return (DType::F32, None);
        }
        let wanted = match self.mixture {
            Mixture::UniformButEmbedding if role == Role::Embedding => DType::F32,
            Mixture::Fine if asked.is_quantized() && role == self.output => DType::Q8_0,
            _ => asked,
        };
        let (dtype, note) = in_whole_blocks(info, wanted);
        if note.is_some() || wanted == asked {
            return (dtype, note);
        }
        let note = Note::ExactOutput { tensor: info.name.clone(), stored: wanted };
        (wanted, Some(note).filter(|_| self.mixture == Mixture::Fine))
    }

    /// The type that `info` has, or what has taken its place. Vectors are F32 in every file for runtimes.
    fn kept(&self, info: &TensorInfo, role: Role) -> (DType, Option<Note>) {
        if !is_matrix(info, role) && self.mixture != Mixture::Plain && info.dtype.is_float() {
            return (DType::F32, None);
        }
        match info.dtype {
            // Two of their blocks share no scale, so none of today's types has the same codes.
            DType::Q4_2 | DType::Q4_3 => in_whole_blocks(info, DType::Q8_0),
            dtype => (dtype.successor().unwrap_or(dtype), None),
        }
    }

    /// What the tensor called `name`, in any dialect, is for.
    fn role(&self, name: &str) -> Role {
        let known = |arch| gristmill_arch::match_weight(arch, Dialect::HuggingFace, name);
        self.arch.and_then(known).map_or_else(|| guess(name), |matched| matched.role)
    }
}

/// The type of most elements, of lists of types and numbers of elements.
pub(crate) fn prevailing(types: impl Iterator<Item = (DType, usize)>) -> Option<DType> {
    let mut n_elements: BTreeMap<DType, usize> = BTreeMap::new();
    types.for_each(|(dtype, n)| *n_elements.entry(dtype).or_default() += n);
    n_elements.into_iter().max_by_key(|&(_, n)| n).map(|(dtype, _)| dtype)
}

/// Whether a tensor is one of the large matrices, which are what the user's word is about.
fn is_matrix(info: &TensorInfo, role: Role) -> bool {
    info.shape.rank() >= 2 && matches!(role, Role::Embedding | Role::Linear | Role::Output)
}

/// `wanted`, or F16 with a remark where the rows are not whole blocks of it.
fn in_whole_blocks(info: &TensorInfo, wanted: DType) -> (DType, Option<Note>) {
    let (tensor, row_len) = (info.name.clone(), info.shape.row_len());
    if wanted.row_bytes(row_len).is_some() {
        return (wanted, None);
    }
    let stored = DType::F16;
    (stored, Some(Note::RowNotWholeBlocks { tensor, row_len, wanted, stored }))
}

/// The role of a tensor of an unknown architecture, by the conventions of GGUF's names.
fn guess(name: &str) -> Role {
    if name == "output.weight" {
        Role::Output
    } else if name == "token_embd.weight" {
        Role::Embedding
    } else if !name.ends_with(".weight") {
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

    fn types(arch: Option<&str>, output: Role, outtype: OutType) -> Vec<DType> {
        let arch = arch.and_then(gristmill_arch::find);
        let policy = Policy { outtype, mixture: Mixture::Fine, arch, output, common: None };
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
            assert_eq!(
                types(arch, Role::Output, OutType::BF16),
                [BF16, BF16, F32, F32, BF16, BF16]
            );
            assert_eq!(types(arch, Role::Output, OutType::Q8_0), [Q8_0, Q8_0, F32, F32, Q8_0, F16]);
            assert_eq!(types(arch, Role::Output, OutType::Q4_1), [Q4_1, Q8_0, F32, F32, Q4_1, F16]);
        }
    }

    #[test]
    fn an_embedding_that_is_the_output_too_is_kept_exact() {
        assert_eq!(types(Some("mpt"), Role::Embedding, OutType::Q5_0)[0], DType::Q8_0);
    }

    #[test]
    fn norms_of_unknown_architectures_are_known_by_their_names() {
        assert_eq!(guess("blk.0.attn_norm.weight"), Role::Norm);
        assert_eq!(guess("blk.0.attn_q.bias"), Role::Bias);
        assert_eq!(guess("position_embd.weight"), Role::Position);
        assert_eq!(guess("blk.0.attn_q.weight"), Role::Linear);
    }
}
