//! Which type each tensor is stored in, given the one word the user said.
//!
//! The rules are those of llama.cpp's converter and quantizer, so that the tensors of the two are the same, byte by
//! byte:
//!
//! | tensor | F32, F16, BF16 | Q8_0 | other types |
//! |---|---|---|---|
//! | vectors, norms, biases, learned positions | F32 | F32 | F32 |
//! | output matrix, or the embedding where it is both | as asked | Q8_0 | Q6_K; Q8_0 where rows are not whole blocks of it, in Falcon, and in files older than Q6_K |
//! | all other matrices | as asked | as asked | as asked, or what [`mix`](crate::mix) says |
//! | … whose rows are not whole blocks | | F16 | a type with smaller blocks, or F16 |
//!
//! That is the [`Mixture::Fine`]; the others leave all matrices as asked for.

use std::collections::BTreeMap;

use gristmill_arch::{Architecture, Dialect, Role};
use gristmill_tensor::{Checkpoint, DType, TensorInfo, keys};

use crate::mix::{Mix, fallback};
use crate::{ConvertOptions, Mixture, Note, OutType, Result};

pub(crate) struct Policy {
    outtype: OutType,
    mixture: Mixture,
    /// `None` when the file is of an architecture that the house does not know: it can be quantized all the same.
    arch: Option<&'static dyn Architecture>,
    /// What the matrix that gives the logits is for.
    output: Role,
    /// Which matrices get other types than most.
    mix: Mix,
    /// The type of all matrices of a copy, where loaders want one type.
    common: Option<DType>,
    /// The layouts that the file may have.
    quant_version: u32,
}

impl Policy {
    pub(crate) fn new(source: &dyn Checkpoint, options: &ConvertOptions) -> Result<Policy> {
        let arch = source.metadata().get_str(keys::ARCHITECTURE)?.and_then(gristmill_arch::find);
        let &ConvertOptions { outtype, mixture, quant_version, .. } = options;
        let names: Vec<String> =
            source.tensors().iter().map(|info| house_name(arch, &info.name)).collect();
        let mix = Mix::new(source, names.iter().map(String::as_str))?;
        let (output, common) = (Role::Output, None);
        let mut policy = Policy { outtype, mixture, arch, output, mix, common, quant_version };
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
            Mixture::Fine if asked.is_quantized() && role == self.output => {
                // Programs of before the K-quants have nothing finer than Q8_0.
                let output = self.mix.output(asked, info.shape.row_len());
                output.at_version(self.quant_version).map_or(DType::Q8_0, |_| output)
            }
            Mixture::Fine if asked.is_quantized() => {
                self.mix.inner(self.outtype, asked, &house_name(self.arch, &info.name))
            }
            _ => asked,
        };
        let (dtype, note) = in_whole_blocks(info, wanted);
        let is_exact_output = role == self.output && wanted != asked && note.is_none();
        if is_exact_output && self.mixture == Mixture::Fine {
            let note = Note::ExactOutput { tensor: info.name.clone(), stored: wanted };
            return (dtype, Some(note));
        }
        (dtype, note)
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

/// What GGUF calls the tensor that has this name in some dialect.
fn house_name(arch: Option<&'static dyn Architecture>, name: &str) -> String {
    let known = |arch| gristmill_arch::match_weight(arch, Dialect::HuggingFace, name);
    arch.and_then(known).map_or_else(|| name.to_owned(), |matched| matched.name)
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

/// `wanted`, or with a remark what takes its place where the rows are not whole blocks of it.
fn in_whole_blocks(info: &TensorInfo, wanted: DType) -> (DType, Option<Note>) {
    let (tensor, row_len) = (info.name.clone(), info.shape.row_len());
    let fits = |dtype: &DType| dtype.row_bytes(row_len).is_some();
    if fits(&wanted) {
        return (wanted, None);
    }
    let stored = fallback(wanted).filter(fits).unwrap_or(DType::F16);
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
    use gristmill_tensor::Metadata;
    use gristmill_testkit::MemoryCheckpoint;

    use super::*;

    fn types(arch: &str, has_output: bool, outtype: OutType) -> Vec<DType> {
        let tensors = [
            TensorInfo::new("token_embd.weight", DType::F32, [50, 64]),
            TensorInfo::new("output.weight", DType::F32, [50, 256]),
            TensorInfo::new("output.bias", DType::F32, [50]),
            TensorInfo::new("output_norm.weight", DType::F32, [64]),
            TensorInfo::new("blk.3.ffn_up.weight", DType::F32, [128, 64]),
            TensorInfo::new("blk.3.attn_q.weight", DType::F32, [64, 40]),
        ];
        let tensors = tensors.into_iter().filter(|i| has_output || !i.name.starts_with("output."));
        let mut metadata = Metadata::new("test");
        metadata.set(keys::ARCHITECTURE, arch);
        let stored = tensors.map(|info| (info.clone(), vec![0; info.n_bytes() as usize]));
        let source = MemoryCheckpoint::new("test", metadata, stored);
        let options = ConvertOptions { outtype, ..ConvertOptions::default() };
        let policy = Policy::new(&source, &options).unwrap();
        source.tensors().iter().map(|info| policy.dtype(info).0).collect()
    }

    #[test]
    fn matrices_are_as_asked_and_vectors_stay_f32() {
        use DType::*;
        for arch in ["gptj", "unheard-of"] {
            let types = |outtype| types(arch, true, outtype);
            assert_eq!(types(OutType::BF16), [BF16, BF16, F32, F32, BF16, BF16]);
            assert_eq!(types(OutType::Q8_0), [Q8_0, Q8_0, F32, F32, Q8_0, F16]);
            assert_eq!(types(OutType::Q4_1), [Q4_1, Q6_K, F32, F32, Q4_1, F16]);
            assert_eq!(types(OutType::Q4_K_S), [Q5_0, Q6_K, F32, F32, Q5_0, F16]);
        }
        assert_eq!(types("falcon", true, OutType::Q4_0)[1], Q8_0);
    }

    #[test]
    fn an_embedding_that_is_the_output_too_is_kept_exact() {
        assert_eq!(types("mpt", false, OutType::Q5_0)[0], DType::Q8_0);
    }

    #[test]
    fn norms_of_unknown_architectures_are_known_by_their_names() {
        assert_eq!(guess("blk.0.attn_norm.weight"), Role::Norm);
        assert_eq!(guess("blk.0.attn_q.bias"), Role::Bias);
        assert_eq!(guess("position_embd.weight"), Role::Position);
        assert_eq!(guess("blk.0.attn_q.weight"), Role::Linear);
    }
}
