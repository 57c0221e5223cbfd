//! A model's numbers, read from metadata under GGUF's keys and checked against its tensors.
//!
//! Files are hostile: every number is within bounds that no published model reaches, and agrees with the tensors,
//! before anything is computed from it. The types are taken as they come, since old files mix them.

use std::ops::RangeInclusive;
use std::sync::Arc;

use gristmill_graph::{Attention, Rope, RopeStyle};
use gristmill_tensor::{Checkpoint, DType, MetaArray, MetaValue, Metadata, keys};

use crate::{Architecture, Error, Heads, Result, RopeScaling};

/// The tensor of divisors of the rotary frequencies, which is read here and not by the graph.
pub(crate) const ROPE_FREQS: &str = "rope_freqs.weight";

/// The numbers of a model, in the words of the field.
#[derive(Clone, PartialEq, Debug)]
pub struct Hparams {
    /// Tokens in the vocabulary: rows of the embedding.
    pub n_vocab: usize,
    /// Tokens of context that the model was made for.
    pub n_ctx: usize,
    /// Width of the residual stream.
    pub n_embd: usize,
    /// Query heads.
    pub n_head: usize,
    /// Key and value heads; a divisor of `n_head`.
    pub n_head_kv: usize,
    /// Width of a head; usually, but not always, `n_embd / n_head`.
    pub head_dim: usize,
    /// Blocks.
    pub n_layer: usize,
    /// Dimensions of each head that are rotated, for architectures with rotary positions.
    pub n_rot: usize,
    /// Width of the feed-forward layer.
    pub n_ff: usize,
    /// Added to the variance, or to the mean square, in normalizations.
    pub norm_eps: f32,
    /// Whether attention and the feed-forward layer read the same residual, for architectures that have both kinds.
    pub parallel_residual: bool,
    /// The base of the rotary frequencies.
    pub rope_base: f32,
    /// How the rotary frequencies are stretched.
    pub rope_scaling: RopeScaling,
    /// Divisors of the rotary frequencies, `n_rot / 2` of them, when the file has them (Llama 3.1 and later).
    pub rope_factors: Option<Vec<f32>>,
    /// The largest exponent of ALiBi's slopes, if positions are biases.
    pub alibi_max: Option<f32>,
    /// Queries, keys and values are clamped to this magnitude.
    pub clamp_kqv: Option<f32>,
    /// Each token attends to this many tokens, itself included.
    pub window: Option<usize>,
    /// Multiplies the scores of attention, if not `1 / sqrt(head_dim)`.
    pub attention_scale: Option<f32>,
    /// Multiplies the logits.
    pub logit_scale: Option<f32>,
}

impl Hparams {
    /// Reads and checks the numbers of a model of `arch` with these tensors, which have house names.
    ///
    /// # Errors
    /// When a key is missing, of the wrong type, implausible, or contradicts a tensor; the message names both.
    pub fn from_metadata(
        arch: &dyn Architecture,
        metadata: &Metadata,
        tensors: &dyn Checkpoint,
    ) -> Result<Hparams> {
        let reader = Reader::new(arch.name(), metadata);
        let absent = |suffix: &&&str| !metadata.contains(&reader.key(suffix));
        if let Some(suffix) = arch.required().iter().find(absent) {
            return Err(reader.missing(suffix));
        }
        let Heads { n_head, n_head_kv } = reader.heads()?;
        let n_embd = reader.needed(keys::EMBEDDING_LENGTH, 1..=1 << 20)?;
        let n_ctx = reader.needed(keys::CONTEXT_LENGTH, 1..=1 << 28)?;
        let n_vocab = reader.extent(tensors, "token_embd.weight", 0, keys::VOCAB_SIZE)?;
        reader.check_tokens(n_vocab)?;
        reader.extent(tensors, "token_embd.weight", 1, keys::EMBEDDING_LENGTH)?;
        let head_dim = reader.head_dim(n_embd, n_head)?;
        let n_rot = reader.n_rot(head_dim)?;
        let n_ff = reader.extent(tensors, "blk.0.ffn_up.weight", 0, keys::FEED_FORWARD_LENGTH)?;
        if tensors.find("position_embd.weight").is_some() {
            reader.extent(tensors, "position_embd.weight", 0, keys::CONTEXT_LENGTH)?;
        }
        let eps = reader.float(keys::LAYER_NORM_EPS, 0.0..=1.0)?;
        Ok(Hparams {
            n_vocab,
            n_ctx,
            n_embd,
            n_head,
            n_head_kv,
            head_dim,
            n_layer: reader.needed(keys::BLOCK_COUNT, 1..=512)?,
            n_rot,
            n_ff,
            norm_eps: match eps.or(reader.float(keys::RMS_NORM_EPS, 0.0..=1.0)?) {
                Some(eps) => eps,
                None => return Err(reader.missing(keys::LAYER_NORM_EPS)),
            },
            parallel_residual: metadata
                .get_bool(&reader.key(keys::USE_PARALLEL_RESIDUAL))?
                .unwrap_or(false),
            rope_base: reader.float(keys::ROPE_FREQ_BASE, 1.0..=1e15)?.unwrap_or(10_000.0),
            rope_scaling: reader.rope_scaling(n_ctx)?,
            rope_factors: rope_factors(tensors, n_rot)?,
            alibi_max: reader.float(keys::MAX_ALIBI_BIAS, 0.0..=1e4)?.filter(|&v| v > 0.0),
            clamp_kqv: reader.float(keys::CLAMP_KQV, 0.0..=1e6)?.filter(|&v| v > 0.0),
            window: reader.count(keys::SLIDING_WINDOW, 0..=1 << 28)?.filter(|&v| v > 0),
            attention_scale: reader.float(keys::ATTENTION_SCALE, 0.0..=1e4)?.filter(|&v| v > 0.0),
            logit_scale: reader.float(keys::LOGIT_SCALE, -1e6..=1e6)?.filter(|&v| v != 0.0),
        })
    }

    /// Width of the queries of all heads.
    pub fn n_embd_q(&self) -> usize {
        self.n_head * self.head_dim
    }

    /// Width of the keys, or of the values, of all heads.
    pub fn n_embd_kv(&self) -> usize {
        self.n_head_kv * self.head_dim
    }

    /// The rotary embedding of the model, pairs laid out in this style.
    pub fn rope(&self, style: RopeStyle) -> Rope {
        let factors = self.rope_factors.as_deref();
        let inv_freq = self.rope_scaling.inv_freq(self.n_rot, self.rope_base, factors);
        let scale = self.rope_scaling.magnitude();
        Rope { style, head_dim: self.head_dim, inv_freq: Arc::from(inv_freq), scale }
    }

    /// The attention of the model, the same in every block.
    pub fn attention(&self) -> Attention {
        let scale = self.attention_scale.unwrap_or(1.0 / (self.head_dim as f32).sqrt());
        Attention {
            n_head: self.n_head,
            n_head_kv: self.n_head_kv,
            head_dim: self.head_dim,
            scale,
            alibi_max: self.alibi_max,
            window: self.window,
        }
    }
}

/// Bounded reads of one architecture's keys.
pub(crate) struct Reader<'a> {
    arch: &'static str,
    metadata: &'a Metadata,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(arch: &'static str, metadata: &'a Metadata) -> Reader<'a> {
        Reader { arch, metadata }
    }

    fn key(&self, suffix: &str) -> String {
        keys::arch(self.arch, suffix)
    }

    fn missing(&self, suffix: &str) -> Error {
        Error::MissingKey {
            file: self.metadata.origin().into(),
            key: self.key(suffix),
            hint: "the file was written by a tool that knew less; convert the original again"
                .into(),
        }
    }

    fn bad(&self, suffix: &str, found: impl ToString, rule: String) -> Error {
        let (file, key) = (self.metadata.origin().into(), self.key(suffix));
        Error::BadValue { file, key, found: found.to_string(), rule }
    }

    fn count(&self, suffix: &str, bounds: RangeInclusive<usize>) -> Result<Option<usize>> {
        match self.metadata.get_usize(&self.key(suffix))? {
            Some(found) if !bounds.contains(&found) => {
                let rule = format!("it should be {} to {}", bounds.start(), bounds.end());
                Err(self.bad(suffix, found, rule))
            }
            found => Ok(found),
        }
    }

    fn needed(&self, suffix: &str, bounds: RangeInclusive<usize>) -> Result<usize> {
        self.count(suffix, bounds)?.ok_or_else(|| self.missing(suffix))
    }

    fn float(&self, suffix: &str, bounds: RangeInclusive<f32>) -> Result<Option<f32>> {
        match self.metadata.get_f32(&self.key(suffix))? {
            Some(found) if !bounds.contains(&found) => {
                let rule = format!("it should be {} to {}", bounds.start(), bounds.end());
                Err(self.bad(suffix, found, rule))
            }
            found => Ok(found),
        }
    }

    pub(crate) fn heads(&self) -> Result<Heads> {
        let n_head = self.needed(keys::HEAD_COUNT, 1..=1 << 16)?;
        let n_head_kv = self.count(keys::HEAD_COUNT_KV, 1..=n_head)?.unwrap_or(n_head);
        if !n_head.is_multiple_of(n_head_kv) {
            let rule = format!("it should divide the {n_head} query heads");
            return Err(self.bad(keys::HEAD_COUNT_KV, n_head_kv, rule));
        }
        Ok(Heads { n_head, n_head_kv })
    }

    fn head_dim(&self, n_embd: usize, n_head: usize) -> Result<usize> {
        let explicit = self.count(keys::KEY_LENGTH, 1..=1 << 14)?;
        let of_values = self.count(keys::VALUE_LENGTH, 1..=1 << 14)?;
        let head_dim = match explicit {
            Some(head_dim) => head_dim,
            None if n_embd.is_multiple_of(n_head) => n_embd / n_head,
            None => {
                let rule = format!("it should divide the embedding length, {n_embd}");
                return Err(self.bad(keys::HEAD_COUNT, n_head, rule));
            }
        };
        if n_head.checked_mul(head_dim).is_none_or(|width| width > 1 << 24) {
            let rule = format!("heads of {head_dim} dimensions are then too many");
            return Err(self.bad(keys::HEAD_COUNT, n_head, rule));
        }
        match of_values {
            Some(found) if found != head_dim => {
                let rule = format!("keys of another length, {head_dim}, are not supported");
                Err(self.bad(keys::VALUE_LENGTH, found, rule))
            }
            _ => Ok(head_dim),
        }
    }

    fn n_rot(&self, head_dim: usize) -> Result<usize> {
        match self.count(keys::ROPE_DIMENSION_COUNT, 1..=head_dim)? {
            Some(odd) if odd % 2 == 1 => {
                let rule = "dimensions are rotated in pairs".into();
                Err(self.bad(keys::ROPE_DIMENSION_COUNT, odd, rule))
            }
            n_rot => Ok(n_rot.unwrap_or(head_dim)),
        }
    }

    /// An extent of a matrix, which the key must repeat if it is there at all.
    fn extent(
        &self,
        tensors: &dyn Checkpoint,
        tensor: &str,
        axis: usize,
        suffix: &str,
    ) -> Result<usize> {
        let info = tensors
            .find(tensor)
            .ok_or_else(|| Error::MissingTensor { file: tensors.name(), name: tensor.into() })?;
        let &[rows, columns] = info.shape.dims() else {
            let what = format!("has shape {} where a matrix is needed", info.shape);
            return Err(Error::BadTensor { file: tensors.name(), name: tensor.into(), what });
        };
        let found = [rows, columns][axis];
        match self.count(suffix, 1..=usize::MAX)? {
            Some(told) if told != found => {
                let rule = format!("tensor {tensor} has shape {}", info.shape);
                Err(self.bad(suffix, told, rule))
            }
            _ => Ok(found),
        }
    }

    /// The tokenizer may know fewer tokens than the embedding has rows, which are often padded, but not more.
    fn check_tokens(&self, n_vocab: usize) -> Result<()> {
        let tokens = self.metadata.get(keys::TOKENIZER_TOKENS).and_then(MetaValue::as_array);
        match tokens.map(MetaArray::len) {
            Some(n_tokens) if n_tokens > n_vocab => Err(Error::BadValue {
                file: self.metadata.origin().into(),
                key: keys::TOKENIZER_TOKENS.into(),
                found: format!("{n_tokens} tokens"),
                rule: format!("the embedding has {n_vocab} rows"),
            }),
            _ => Ok(()),
        }
    }

    fn rope_scaling(&self, n_ctx: usize) -> Result<RopeScaling> {
        let factor = match self.float(keys::ROPE_SCALING_FACTOR, 0.0..=1e6)? {
            // The name of the key in files of 2023.
            None => self.float(keys::ROPE_SCALE_LINEAR, 0.0..=1e6)?,
            factor => factor,
        };
        let kind = self.metadata.get_str(&self.key(keys::ROPE_SCALING_TYPE))?.unwrap_or("linear");
        let Some(factor) = factor.filter(|&factor| factor > 0.0 && factor != 1.0) else {
            return Ok(RopeScaling::None);
        };
        match kind {
            "none" => Ok(RopeScaling::None),
            "linear" => Ok(RopeScaling::Linear { factor }),
            "yarn" => Ok(RopeScaling::Yarn {
                factor,
                attn_factor: self.float(keys::ROPE_SCALING_ATTN_FACTOR, 0.0..=1e3)?.unwrap_or(1.0),
                n_ctx_orig: self
                    .count(keys::ROPE_SCALING_ORIGINAL_CONTEXT, 1..=1 << 28)?
                    .unwrap_or(n_ctx),
                beta_fast: self.float(keys::ROPE_SCALING_BETA_FAST, 1e-3..=1e6)?.unwrap_or(32.0),
                beta_slow: self.float(keys::ROPE_SCALING_BETA_SLOW, 1e-3..=1e6)?.unwrap_or(1.0),
            }),
            other => Err(Error::Unsupported {
                file: self.metadata.origin().into(),
                key: self.key(keys::ROPE_SCALING_TYPE),
                found: other.into(),
                cure: "supported: none, linear, yarn".into(),
            }),
        }
    }
}

/// The divisors of the rotary frequencies, if the checkpoint has them.
fn rope_factors(tensors: &dyn Checkpoint, n_rot: usize) -> Result<Option<Vec<f32>>> {
    let Some(info) = tensors.find(ROPE_FREQS) else { return Ok(None) };
    let bad =
        |what: String| Error::BadTensor { file: tensors.name(), name: ROPE_FREQS.into(), what };
    if info.dtype != DType::F32 || info.shape.dims() != [n_rot / 2] {
        let (dtype, shape) = (info.dtype, &info.shape);
        return Err(bad(format!("is {dtype} {shape} where F32 [{}] is needed", n_rot / 2)));
    }
    let bytes = tensors.read(ROPE_FREQS, 0..1)?;
    let factors: Vec<f32> =
        bytes.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    if factors.len() != n_rot / 2 || !factors.iter().all(|f| f.is_finite() && *f > 0.0) {
        return Err(bad("holds divisors that are not positive numbers".into()));
    }
    Ok(Some(factors))
}
