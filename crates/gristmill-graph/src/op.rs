//! The closed list of operations.
//!
//! It is deliberately not `#[non_exhaustive]`: whoever adds an operation is told by the compiler where executors
//! must learn it.

use std::sync::Arc;

use crate::program::WeightId;

/// One operation. Inputs are the operands in the order written here; `n` is the number of tokens.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// The ids of the tokens: an input of the program.
    Tokens,
    /// The positions of the tokens: an input of the program.
    Positions,
    /// `ids → [n, n_embd]`: for each id its row of the weight `[n_rows, n_embd]`.
    Embed {
        /// The table.
        weight: WeightId,
    },
    /// `[n, n_in] → [n, n_out]`: `y = x Wᵀ (+ b)`, weight `[n_out, n_in]`, bias `[n_out]`.
    Linear {
        /// The matrix.
        weight: WeightId,
        /// The bias, if the model has one.
        bias: Option<WeightId>,
    },
    /// Layer normalization over each row (Ba et al., 2016): `(x - mean) / sqrt(var + eps) * w (+ b)`.
    LayerNorm {
        /// The gain.
        weight: WeightId,
        /// The shift, if the model has one.
        bias: Option<WeightId>,
        /// Added to the variance.
        eps: f32,
    },
    /// Root mean square normalization over each row (Zhang & Sennrich, 2019): `x / sqrt(mean(x²) + eps) * w`.
    RmsNorm {
        /// The gain.
        weight: WeightId,
        /// Added to the mean square.
        eps: f32,
    },
    /// Rotary position embedding (Su et al., 2021) of each head.
    Rope(Rope),
    /// `q, k, v → [n, n_head * head_dim]`: causal self-attention over all tokens so far. The executor keeps `k` and
    /// `v` of earlier tokens.
    Attend {
        /// Its numbers.
        attention: Attention,
        /// Which attention of the program this is, from 0: the place of its keys and values in the cache.
        layer: usize,
    },
    /// Columns `start .. start + width` of each row.
    Slice {
        /// The first column.
        start: usize,
    },
    /// Each element clamped to `-limit ..= limit`.
    Clamp {
        /// The largest magnitude.
        limit: f32,
    },
    /// The Gaussian error linear unit (Hendrycks & Gimpel, 2016).
    Gelu(Gelu),
    /// `x * sigmoid(x)`.
    Silu,
    /// Each element times a constant.
    Scale {
        /// The constant.
        factor: f32,
    },
    /// The sum of two values of the same width.
    Add,
    /// The element-wise product of two values of the same width.
    Mul,
}

impl Op {
    /// The name, as [`Program`](crate::Program)'s text shows it.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Tokens => "tokens",
            Op::Positions => "positions",
            Op::Embed { .. } => "embed",
            Op::Linear { .. } => "linear",
            Op::LayerNorm { .. } => "layer_norm",
            Op::RmsNorm { .. } => "rms_norm",
            Op::Rope(_) => "rope",
            Op::Attend { .. } => "attend",
            Op::Slice { .. } => "slice",
            Op::Clamp { .. } => "clamp",
            Op::Gelu(Gelu::Exact) => "gelu",
            Op::Gelu(Gelu::Tanh) => "gelu_tanh",
            Op::Silu => "silu",
            Op::Scale { .. } => "scale",
            Op::Add => "add",
            Op::Mul => "mul",
        }
    }
}

/// Which dimensions of a head are rotated together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RopeStyle {
    /// Neighbours `(2i, 2i + 1)`: GPT-J, and LLaMA as Meta and ggml store it.
    Interleaved,
    /// `(i, i + n_rot / 2)`: GPT-NeoX.
    Halves,
}

/// The rotary embedding's numbers. Pair `i` of the token at position `p` is turned by the angle
/// `p * inv_freq[i]`; every scaling method (linear, Llama 3's, YaRN) is a choice of `inv_freq` and `scale`.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// Which dimensions make a pair.
    pub style: RopeStyle,
    /// Width of a head; the operand's width is a multiple of it.
    pub head_dim: usize,
    /// One frequency per pair, in radians per position: `n_rot / 2` of them. Dimensions from `n_rot` on stay.
    pub inv_freq: Arc<[f32]>,
    /// Multiplies the rotated dimensions: 1 but for YaRN.
    pub scale: f32,
}

impl Rope {
    /// How many dimensions of each head are rotated.
    pub fn n_rot(&self) -> usize {
        2 * self.inv_freq.len()
    }
}

/// The numbers of an attention: `softmax(scale * q kᵀ + bias) v`, head by head.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attention {
    /// Query heads.
    pub n_head: usize,
    /// Key and value heads; query head `h` uses number `h / (n_head / n_head_kv)`.
    pub n_head_kv: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Multiplies the scores: usually `1 / sqrt(head_dim)`.
    pub scale: f32,
    /// The largest exponent of ALiBi's slopes (Press et al., 2021), if positions are biases: 8 in the paper.
    pub alibi_max: Option<f32>,
    /// Each token sees only this many tokens, itself included (Mistral's sliding window).
    pub window: Option<usize>,
}

/// The two forms of GELU in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gelu {
    /// `x Φ(x)` with the error function.
    Exact,
    /// `x/2 (1 + tanh(sqrt(2/π) (x + 0.044715 x³)))`.
    Tanh,
}
