//! Writing legacy files: what old programs on old machines read.
//!
//! The caller gives tensors under the names of the dialect and the vocabulary in the convention of these files, as the
//! reader gives them. Everything in front of each tensor's data is known at once and written first; slabs then arrive
//! in any order.

use gristmill_tensor::{
    AtomicFile, Container, DType, Error, FileSink, HeaderField, HeaderLayout, MetaArray, MetaValue,
    Metadata, ModelHeader, Result, TensorInfo, Vocabulary, keys,
};

use crate::header::QUANT_VERSION_FACTOR;
use crate::magic::Magic;
use crate::vocab::SPECIAL;
use crate::{FORMAT, Known, record, vocab};

/// What to write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writing {
    pub(crate) container: Container,
    /// The version of the block layouts.
    pub(crate) quant_version: u32,
}

/// Writes all that stands in front of and between the data, and reserves the place of every tensor.
pub(crate) fn create(
    file: AtomicFile,
    header: &ModelHeader<'_>,
    writing: Writing,
    known: Known,
) -> Result<FileSink> {
    let target = file.target().display().to_string();
    let refuse = |what: String| Error::unsupported(&*target, FORMAT, what);
    let front = Front::new(header, writing, known).map_err(refuse)?;
    let mut position = front.bytes.len() as u64;
    let mut places = Vec::with_capacity(header.tensors.len());
    for info in header.tensors {
        let record = record_of(info, writing.quant_version).map_err(refuse)?;
        let after = position + record.len() as u64;
        let start = match front.aligned {
            true => after.next_multiple_of(record::ALIGNMENT),
            false => after,
        };
        places.push((position, record, start));
        position = start
            .checked_add(info.n_bytes())
            .ok_or_else(|| refuse("the tensors together are larger than any file".into()))?;
    }
    file.set_len(position)?;
    for (at, record, _) in &places {
        file.write_at(*at, record)?;
    }
    let starts = places.iter().map(|&(_, _, start)| start);
    FileSink::create(file, position, &front.bytes, header.tensors.iter().zip(starts))
}

/// Magic, hyperparameters and vocabulary.
struct Front {
    bytes: Vec<u8>,
    aligned: bool,
}

impl Front {
    fn new(
        header: &ModelHeader<'_>,
        Writing { container, quant_version }: Writing,
        known: Known,
    ) -> std::result::Result<Front, String> {
        let metadata = header.metadata;
        let arch = metadata.get_str(keys::ARCHITECTURE).map_err(|error| error.to_string())?;
        let arch = arch.ok_or("the architecture is not known")?;
        let magic = Magic::of(container, quant_version);
        let is_its = |layout: &&&HeaderLayout| {
            layout.architecture == arch && layout.containers.contains(&container)
        };
        let layouts = (known.headers)();
        let Some(&layout) = layouts.iter().find(is_its) else {
            return Err(format!(
                "no {} file of architecture {arch} was ever defined; write GGUF",
                magic.title()
            ));
        };
        if quant_version > LAST_QUANT_VERSION {
            return Err(format!("the block layouts have no version {quant_version}"));
        }
        let read_as = magic.quant_version(layout, counted(header, layout, magic, quant_version));
        if is_quantized(header) && read_as != quant_version {
            return Err(format!(
                "a quantized {} file of {arch} has version {read_as} of the block layouts; give --quant-version {read_as}",
                magic.title()
            ));
        }
        let stranger = header.tensors.iter().find(|info| !(known.is_tensor)(arch, &info.name));
        if let Some(info) = stranger {
            return Err(format!("{arch} has no tensor {} in such files", info.name));
        }
        let mut front =
            Front { bytes: magic.bytes(), aligned: magic.is_aligned() && layout.aligned };
        for &field in layout.fields {
            front.field(field, layout, header, magic, quant_version)?;
        }
        front.vocabulary(layout, metadata, magic.has_scores())?;
        Ok(front)
    }

    fn word(&mut self, value: u32) {
        self.bytes.extend(value.to_le_bytes());
    }

    fn field(
        &mut self,
        field: HeaderField,
        layout: &HeaderLayout,
        header: &ModelHeader<'_>,
        magic: Magic,
        quant_version: u32,
    ) -> std::result::Result<(), String> {
        let metadata = header.metadata;
        let key = |suffix: &str| keys::arch(layout.architecture, suffix);
        let told = |suffix: &str| metadata.get_u32(&key(suffix)).map_err(|error| error.to_string());
        let needed = |suffix: &str| {
            told(suffix)?.ok_or_else(|| format!("the model does not say its {}", key(suffix)))
        };
        match field {
            HeaderField::Count(keys::ROPE_DIMENSION_COUNT) => {
                let head_dim = needed(keys::EMBEDDING_LENGTH)? / needed(keys::HEAD_COUNT)?.max(1);
                self.word(told(keys::ROPE_DIMENSION_COUNT)?.unwrap_or(head_dim));
            }
            HeaderField::Count(suffix) => self.word(needed(suffix)?),
            HeaderField::Float(suffix) => {
                let value = metadata.get_f32(&key(suffix)).map_err(|error| error.to_string())?;
                self.bytes.extend(value.unwrap_or(0.0).to_le_bytes());
            }
            HeaderField::Flag(suffix) => {
                let value = metadata.get_bool(&key(suffix)).map_err(|error| error.to_string())?;
                self.word(value.unwrap_or(true).into());
            }
            HeaderField::NVocab | HeaderField::NVocabAgain => self.word(needed(keys::VOCAB_SIZE)?),
            HeaderField::NMult => {
                let (n_embd, n_ff) =
                    (needed(keys::EMBEDDING_LENGTH)?, needed(keys::FEED_FORWARD_LENGTH)?);
                let n_mult = n_mult(n_embd, n_ff).ok_or_else(|| {
                    format!("a feed-forward layer {n_ff} wide has no n_mult at width {n_embd}; write GGUF")
                })?;
                self.word(n_mult);
            }
            HeaderField::OneOf(accepted) => self.word(accepted.first().copied().unwrap_or(0)),
            HeaderField::NMerges => {
                return Err("files with merges are only read; write GGUF".into());
            }
            HeaderField::FileType => {
                let counted = counted(header, layout, magic, quant_version);
                self.word(QUANT_VERSION_FACTOR * counted + file_type(header, layout.vocabulary));
            }
        }
        Ok(())
    }

    fn vocabulary(
        &mut self,
        layout: &HeaderLayout,
        metadata: &Metadata,
        has_scores: bool,
    ) -> std::result::Result<(), String> {
        let texts: Vec<&[u8]> = match metadata.get(keys::TOKENIZER_TOKENS) {
            Some(MetaValue::Array(MetaArray::Bytes(texts))) => {
                texts.iter().map(Vec::as_slice).collect()
            }
            Some(MetaValue::Array(MetaArray::String(texts))) => {
                texts.iter().map(String::as_bytes).collect()
            }
            _ => {
                return Err(
                    "the model has no vocabulary, and such files need one; give --tokenizer".into(),
                );
            }
        };
        let key = keys::arch(layout.architecture, keys::VOCAB_SIZE);
        let n_vocab = metadata.get_usize(&key).map_err(|error| error.to_string())?;
        if n_vocab != Some(texts.len()) {
            return Err(format!(
                "there are {} tokens for {n_vocab:?} rows of the embedding",
                texts.len()
            ));
        }
        let scores =
            metadata.get_f32s(keys::TOKENIZER_SCORES).map_err(|error| error.to_string())?;
        let kinds =
            metadata.get_i32s(keys::TOKENIZER_TOKEN_TYPE).map_err(|error| error.to_string())?;
        for (id, &text) in texts.iter().enumerate() {
            let text = match layout.vocabulary {
                Vocabulary::Latin1 => {
                    text.iter().map(|&byte| char::from(byte)).collect::<String>().into_bytes()
                }
                _ => text.to_vec(),
            };
            if text.len() > vocab::MAX_TOKEN_BYTES as usize {
                return Err(format!(
                    "token {id} has {} bytes; at most {} are read",
                    text.len(),
                    vocab::MAX_TOKEN_BYTES
                ));
            }
            let is_control = kinds.as_ref().and_then(|kinds| kinds.get(id)) == Some(&CONTROL);
            let mark =
                if layout.vocabulary == Vocabulary::Marked && is_control { SPECIAL } else { 0 };
            self.word(text.len() as u32 | mark);
            self.bytes.extend(text);
            if has_scores {
                let score = scores.and_then(|scores| scores.get(id)).copied().unwrap_or(0.0);
                self.bytes.extend(score.to_le_bytes());
            }
        }
        Ok(())
    }
}

/// The number of control tokens in `tokenizer.ggml.token_type`.
const CONTROL: i32 = 3;

/// Q6_K, the last file type that llama.cpp had before GGUF.
const LAST_FILE_TYPE: u32 = 18;

/// Today's version of the block layouts.
const LAST_QUANT_VERSION: u32 = 2;

fn is_quantized(header: &ModelHeader<'_>) -> bool {
    header.tensors.iter().any(|info| info.dtype.is_quantized())
}

/// The version of the block layouts that the file type counts: none where nothing is quantized. llama.cpp and GPT4All
/// number the version of their containers instead, or have one only.
fn counted(
    header: &ModelHeader<'_>,
    layout: &HeaderLayout,
    magic: Magic,
    quant_version: u32,
) -> u32 {
    let counts = match magic.container {
        Container::Ggml => true,
        Container::Ggjt => layout.vocabulary != Vocabulary::SentencePiece,
        Container::Ggmf | Container::Ggcc | Container::Ggmm => false,
    };
    if counts && is_quantized(header) { quant_version } else { 0 }
}

/// The number for the whole file: llama.cpp's where it has told one, else that of the prevailing type.
fn file_type(header: &ModelHeader<'_>, vocabulary: Vocabulary) -> u32 {
    let told = header.metadata.get_u32(keys::FILE_TYPE).ok().flatten();
    if let (Some(told @ 0..=LAST_FILE_TYPE), Vocabulary::SentencePiece) = (told, vocabulary) {
        return told;
    }
    // Old loaders give this type to all matrices but the few that they know better, so those are outnumbered.
    let matrices = || header.tensors.iter().filter(|info| info.shape.rank() > 1);
    let count = |dtype: DType| matrices().filter(|other| other.dtype == dtype).count();
    let usual = matrices().max_by_key(|info| count(info.dtype));
    let dtype = usual.map_or(DType::F32, |info| info.dtype);
    match dtype.successor().unwrap_or(dtype) {
        DType::F32 => 0,
        DType::F16 => 1,
        DType::Q4_0 => 2,
        DType::Q4_1 => 3,
        DType::Q4_2 => 5,
        DType::Q4_3 => 6,
        DType::Q8_0 => 7,
        DType::Q5_0 => 8,
        DType::Q5_1 => 9,
        // llama.cpp's names are of mixtures, of which this is the usual one.
        DType::Q2_K if vocabulary == Vocabulary::SentencePiece => 10,
        DType::Q3_K if vocabulary == Vocabulary::SentencePiece => 12,
        DType::Q4_K if vocabulary == Vocabulary::SentencePiece => 15,
        DType::Q5_K if vocabulary == Vocabulary::SentencePiece => 17,
        DType::Q6_K if vocabulary == Vocabulary::SentencePiece => 18,
        // ggml's follow in the order of the types.
        other => other.ggml_id().unwrap_or(0),
    }
}

/// The multiple to which LLaMA's loaders round two thirds of four times the width, to get `n_ff`. LLaMA 2 70B's
/// feed-forward layer is 1.3 times as wide.
fn n_mult(n_embd: u32, n_ff: u32) -> Option<u32> {
    let plain = u64::from(n_embd) * 8 / 3;
    // LLaMA's own multiple first, of all that do as well.
    let candidates = || [256].into_iter().chain((1..=8192u32).rev());
    [plain, plain * 13 / 10].into_iter().find_map(|width| {
        candidates().find(|&n_mult| width.next_multiple_of(n_mult.into()) == u64::from(n_ff))
    })
}

/// The record in front of a tensor's data.
fn record_of(info: &TensorInfo, quant_version: u32) -> std::result::Result<Vec<u8>, String> {
    let refuse = |what: String| format!("tensor {} {what}", info.name);
    let known = record::id(info.dtype)
        .filter(|&id| record::dtype(id, quant_version) == Some(info.dtype))
        .ok_or_else(|| {
            let dtype = info.dtype;
            refuse(format!(
                "is {dtype}, which version {quant_version} of the block layouts does not have"
            ))
        })?;
    let dims = if info.shape.rank() == 0 { &[1][..] } else { info.shape.dims() };
    if dims.len() > 2 {
        return Err(refuse(format!("has {} dimensions; loaders know two", dims.len())));
    }
    let mut words = vec![dims.len() as u32, info.name.len() as u32, known];
    for &dim in dims.iter().rev() {
        let dim = u32::try_from(dim).ok().filter(|&dim| dim <= i32::MAX as u32);
        words.push(dim.ok_or_else(|| refuse(format!("has the shape {}", info.shape)))?);
    }
    if dims.contains(&0) || info.name.len() > record::MAX_NAME_BYTES as usize {
        return Err(refuse(format!("has the shape {} or too long a name", info.shape)));
    }
    let mut bytes: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
    bytes.extend(info.name.as_bytes());
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_multiple_of_published_models_is_found() {
        for (n_embd, n_ff) in
            [(4096, 11008), (5120, 13824), (6656, 17920), (8192, 22016), (8192, 28672)]
        {
            let n_mult = n_mult(n_embd, n_ff).unwrap();
            let plain = u64::from(n_embd) * 8 / 3;
            let rounded = [plain, plain * 13 / 10].map(|w| w.next_multiple_of(n_mult.into()));
            assert!(rounded.contains(&n_ff.into()), "{n_embd}: {n_mult}");
        }
        assert_eq!(n_mult(4096, 11008), Some(256));
        assert_eq!(n_mult(32, 20), None);
    }

    #[test]
    fn the_number_for_the_file_is_that_of_the_weights_not_of_a_large_embedding() {
        let metadata = Metadata::new("test");
        let embedding = TensorInfo::new("wte", DType::F32, [5000, 32]);
        let norm = TensorInfo::new("norm", DType::F32, [32]);
        for (dtype, number) in
            [(DType::F32, 0), (DType::F16, 1), (DType::Q4_0_V0, 2), (DType::Q4_1_V0, 3)]
        {
            let weight = |name| TensorInfo::new(name, dtype, [32, 32]);
            let tensors = [embedding.clone(), norm.clone(), weight("up"), weight("down")];
            let header = ModelHeader { metadata: &metadata, tensors: &tensors };
            assert_eq!(file_type(&header, Vocabulary::Marked), number, "{dtype}");
        }
    }
}
