//! The models: their extents, the tensors and metadata of their architectures, and vocabularies of the right size
//! that other programs can load.

use gristmill_tensor::{DType, MetaValue, Metadata, TensorInfo, keys};

/// What a model is made like.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arch {
    Llama,
    GptJ,
    Mpt,
}

/// A model's extents.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) arch: Arch,
    pub(crate) n_ctx: usize,
    pub(crate) n_vocab: usize,
    pub(crate) n_embd: usize,
    pub(crate) n_head: usize,
    pub(crate) n_head_kv: usize,
    pub(crate) n_layer: usize,
    pub(crate) n_ff: usize,
    /// Whether the head is the embedding.
    pub(crate) tied: bool,
}

macro_rules! shapes {
    ($($name:literal: $arch:ident, ctx $n_ctx:literal, vocab $n_vocab:literal, embd $n_embd:literal,
       heads $n_head:literal / $n_head_kv:literal, layers $n_layer:literal, ff $n_ff:literal, tied $tied:literal;)*) => {
        /// Every model that can be made.
        pub(crate) const SHAPES: &[Shape] = &[$(Shape {
            name: $name, arch: Arch::$arch, n_ctx: $n_ctx, n_vocab: $n_vocab, n_embd: $n_embd, n_head: $n_head,
            n_head_kv: $n_head_kv, n_layer: $n_layer, n_ff: $n_ff, tied: $tied,
        }),*];
    };
}

shapes! {
    "llama-7b":      Llama, ctx 4096, vocab 32000, embd 4096, heads 32 / 32, layers 32, ff 11008, tied false;
    "llama-1b":      Llama, ctx 4096, vocab 32000, embd 2048, heads 32 / 4,  layers 22, ff 5632,  tied false;
    "smollm2-135m":  Llama, ctx 8192, vocab 49152, embd 576,  heads 9 / 3,   layers 30, ff 1536,  tied true;
    "gptj-6b":       GptJ,  ctx 2048, vocab 50400, embd 4096, heads 16 / 16, layers 28, ff 16384, tied false;
    "mpt-7b":        Mpt,   ctx 2048, vocab 50432, embd 4096, heads 32 / 32, layers 32, ff 16384, tied true;
}

/// Dimensions of each head that GPT-J rotates.
const GPTJ_N_ROT: usize = 64;

impl Shape {
    /// The tensors: matrices of `dtype` (or the nearest type whose blocks fit the rows), everything else F32.
    pub(crate) fn tensors(&self, dtype: DType) -> Vec<TensorInfo> {
        let &Shape { n_vocab, n_embd, n_layer, n_ff, .. } = self;
        let n_kv = n_embd / self.n_head * self.n_head_kv;
        let mut list = Vec::new();
        let mut matrix = |name: &str, n_out: usize, n_in: usize| {
            list.push(TensorInfo::new(
                format!("{name}.weight"),
                fitting(dtype, n_in),
                [n_out, n_in],
            ));
        };
        matrix("token_embd", n_vocab, n_embd);
        for il in 0..n_layer {
            let mut matrix =
                |part: &str, n_out, n_in| matrix(&format!("blk.{il}.{part}"), n_out, n_in);
            if self.arch == Arch::Mpt {
                matrix("attn_qkv", n_embd + 2 * n_kv, n_embd);
            } else {
                matrix("attn_q", n_embd, n_embd);
                matrix("attn_k", n_kv, n_embd);
                matrix("attn_v", n_kv, n_embd);
            }
            matrix("attn_output", n_embd, n_embd);
            if self.arch == Arch::Llama {
                matrix("ffn_gate", n_ff, n_embd);
            }
            matrix("ffn_up", n_ff, n_embd);
            matrix("ffn_down", n_embd, n_ff);
        }
        if !self.tied {
            matrix("output", n_vocab, n_embd);
        }

        let mut vector =
            |name: String, width: usize| list.push(TensorInfo::new(name, DType::F32, [width]));
        let has_bias = self.arch == Arch::GptJ;
        let mut norm = |name: &str| {
            vector(format!("{name}.weight"), n_embd);
            if has_bias {
                vector(format!("{name}.bias"), n_embd);
            }
        };
        norm("output_norm");
        for il in 0..n_layer {
            norm(&format!("blk.{il}.attn_norm"));
            // GPT-J's branches share one.
            if self.arch != Arch::GptJ {
                norm(&format!("blk.{il}.ffn_norm"));
            }
        }
        if has_bias {
            vector("output.bias".into(), n_vocab);
            for il in 0..n_layer {
                vector(format!("blk.{il}.ffn_up.bias"), n_ff);
                vector(format!("blk.{il}.ffn_down.bias"), n_embd);
            }
        }
        list
    }

    /// The metadata, vocabulary included.
    pub(crate) fn metadata(&self, dtype: DType) -> Metadata {
        let architecture = match self.arch {
            Arch::Llama => "llama",
            Arch::GptJ => "gptj",
            Arch::Mpt => "mpt",
        };
        let mut metadata = Metadata::new("benchmark model");
        metadata.set(keys::ARCHITECTURE, architecture);
        metadata.set(keys::NAME, self.name);
        metadata.set(keys::QUANTIZATION_VERSION, 2u32);
        if let Some(file_type) = file_type(dtype) {
            metadata.set(keys::FILE_TYPE, file_type);
        }
        let mut set = |suffix: &str, value: MetaValue| {
            metadata.set(keys::arch(architecture, suffix), value);
        };
        let counts = [
            (keys::VOCAB_SIZE, self.n_vocab),
            (keys::CONTEXT_LENGTH, self.n_ctx),
            (keys::EMBEDDING_LENGTH, self.n_embd),
            (keys::BLOCK_COUNT, self.n_layer),
            (keys::FEED_FORWARD_LENGTH, self.n_ff),
            (keys::HEAD_COUNT, self.n_head),
            (keys::HEAD_COUNT_KV, self.n_head_kv),
        ];
        counts.iter().for_each(|(suffix, value)| set(suffix, (*value as u32).into()));
        match self.arch {
            Arch::Llama => {
                set(keys::ROPE_DIMENSION_COUNT, ((self.n_embd / self.n_head) as u32).into());
                set(keys::RMS_NORM_EPS, 1e-5f32.into());
            }
            Arch::GptJ => {
                set(keys::ROPE_DIMENSION_COUNT, (GPTJ_N_ROT as u32).into());
                set(keys::LAYER_NORM_EPS, 1e-5f32.into());
            }
            Arch::Mpt => {
                set(keys::MAX_ALIBI_BIAS, 8f32.into());
                set(keys::LAYER_NORM_EPS, 1e-5f32.into());
            }
        }
        match self.arch {
            Arch::Llama => sentencepiece(self.n_vocab, &mut metadata),
            Arch::GptJ | Arch::Mpt => byte_pairs(self.n_vocab, &mut metadata),
        }
        metadata
    }
}

/// The type itself where rows are whole blocks of it, else the type of small blocks that llama.cpp takes in its stead.
fn fitting(dtype: DType, n_in: usize) -> DType {
    if n_in.is_multiple_of(dtype.block_len()) {
        return dtype;
    }
    match dtype {
        DType::Q4_K => DType::Q5_0,
        DType::Q5_K => DType::Q5_1,
        DType::Q6_K => DType::Q8_0,
        _ => DType::IQ4_NL,
    }
}

/// The number of llama.cpp's name for files of a type.
fn file_type(dtype: DType) -> Option<u32> {
    Some(match dtype {
        DType::F32 => 0,
        DType::F16 => 1,
        DType::Q4_0 => 2,
        DType::Q4_1 => 3,
        DType::Q8_0 => 7,
        DType::Q5_0 => 8,
        DType::Q5_1 => 9,
        DType::Q2_K => 10,
        DType::Q3_K => 11,
        DType::Q4_K => 14,
        DType::Q5_K => 16,
        DType::Q6_K => 18,
        DType::IQ4_NL => 25,
        DType::IQ4_XS => 30,
        DType::BF16 => 32,
        DType::MXFP4 => 38,
        _ => return None,
    })
}

/// Kinds of tokens, as GGUF numbers them.
const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const BYTE: i32 = 6;

/// A SentencePiece vocabulary in LLaMA's order: three control tokens, the bytes, then made-up pieces.
fn sentencepiece(n_vocab: usize, metadata: &mut Metadata) {
    let mut tokens = vec!["<unk>".to_string(), "<s>".into(), "</s>".into()];
    let mut types = vec![UNKNOWN, CONTROL, CONTROL];
    tokens.extend((0..=255u8).map(|byte| format!("<0x{byte:02X}>")));
    types.resize(tokens.len(), BYTE);
    tokens.extend((tokens.len()..n_vocab).map(|id| format!("\u{2581}w{id}")));
    types.resize(n_vocab, NORMAL);
    let scores: Vec<f32> = (0..n_vocab).map(|id| -(id as f32)).collect();
    metadata.set(keys::TOKENIZER_MODEL, "llama");
    metadata.set(keys::TOKENIZER_TOKENS, tokens);
    metadata.set(keys::TOKENIZER_SCORES, scores);
    metadata.set(keys::TOKENIZER_TOKEN_TYPE, types);
    metadata.set(keys::TOKENIZER_BOS_ID, 1u32);
    metadata.set(keys::TOKENIZER_EOS_ID, 2u32);
    metadata.set(keys::TOKENIZER_UNK_ID, 0u32);
}

/// A byte-pair vocabulary: the bytes, then pairs of bytes, each with its merge, and the end of text.
fn byte_pairs(n_vocab: usize, metadata: &mut Metadata) {
    let bytes = byte_letters();
    let pairs = || (0..n_vocab - 257).map(|n| (bytes[n / 256], bytes[n % 256]));
    let mut tokens: Vec<String> = bytes.iter().map(char::to_string).collect();
    tokens.extend(pairs().map(|(a, b)| format!("{a}{b}")));
    tokens.push("<|endoftext|>".into());
    let mut types = vec![NORMAL; n_vocab];
    types[n_vocab - 1] = CONTROL;
    let merges: Vec<String> = pairs().map(|(a, b)| format!("{a} {b}")).collect();
    metadata.set(keys::TOKENIZER_MODEL, "gpt2");
    metadata.set(keys::TOKENIZER_PRE, "gpt-2");
    metadata.set(keys::TOKENIZER_TOKENS, tokens);
    metadata.set(keys::TOKENIZER_TOKEN_TYPE, types);
    metadata.set(keys::TOKENIZER_MERGES, merges);
    metadata.set(keys::TOKENIZER_BOS_ID, n_vocab as u32 - 1);
    metadata.set(keys::TOKENIZER_EOS_ID, n_vocab as u32 - 1);
}

/// The letters that GPT-2 writes bytes with: printable ones stand for themselves, the others are moved above U+0100.
fn byte_letters() -> Vec<char> {
    let mut moved = (0x100..).filter_map(char::from_u32);
    (0..=255u8)
        .map(|byte| match byte {
            b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => char::from(byte),
            _ => moved.next().expect("there are enough letters"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn models_have_the_number_of_weights_they_are_known_for() {
        let known = [6.74e9, 1.10e9, 134.5e6, 6.05e9, 6.65e9];
        for (shape, known) in SHAPES.iter().zip(known) {
            let count: usize =
                shape.tensors(DType::F16).iter().map(|info| info.shape.numel()).sum();
            assert!((count as f64 / known - 1.0).abs() < 0.005, "{}: {count}", shape.name);
        }
    }

    #[test]
    fn rows_that_are_no_whole_blocks_take_smaller_ones() {
        let smollm2 = SHAPES[2].tensors(DType::Q4_K);
        let of = |name: &str| smollm2.iter().find(|info| info.name.ends_with(name)).unwrap().dtype;
        assert_eq!(of("0.attn_q.weight"), DType::Q5_0);
        assert_eq!(of("0.ffn_down.weight"), DType::Q4_K);
    }

    #[test]
    fn made_up_tokens_are_unique() {
        let mut metadata = Metadata::new("test");
        byte_pairs(50400, &mut metadata);
        let tokens = metadata.get_strings(keys::TOKENIZER_TOKENS).unwrap().unwrap();
        assert_eq!(tokens.len(), 50400);
        assert_eq!(tokens.iter().collect::<HashSet<_>>().len(), 50400);
    }
}
