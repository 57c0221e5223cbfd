//! GGUF's metadata keys, the words in which every reader answers.
//!
//! Keys that belong to an architecture are suffixes here; [`arch`] puts the architecture's name in front.

/// `{architecture}.{suffix}`.
pub fn arch(architecture: &str, suffix: &str) -> String {
    format!("{architecture}.{suffix}")
}

macro_rules! keys {
    ($($name:ident = $key:literal;)*) => { $(#[doc = concat!("`", $key, "`")] pub const $name: &str = $key;)* };
}

keys! {
    ARCHITECTURE = "general.architecture";
    TYPE = "general.type";
    NAME = "general.name";
    BASENAME = "general.basename";
    SIZE_LABEL = "general.size_label";
    FINETUNE = "general.finetune";
    VERSION = "general.version";
    FILE_TYPE = "general.file_type";
    QUANTIZATION_VERSION = "general.quantization_version";
    ALIGNMENT = "general.alignment";

    // Suffixes below the architecture's name.
    VOCAB_SIZE = "vocab_size";
    CONTEXT_LENGTH = "context_length";
    EMBEDDING_LENGTH = "embedding_length";
    BLOCK_COUNT = "block_count";
    FEED_FORWARD_LENGTH = "feed_forward_length";
    HEAD_COUNT = "attention.head_count";
    HEAD_COUNT_KV = "attention.head_count_kv";
    KEY_LENGTH = "attention.key_length";
    VALUE_LENGTH = "attention.value_length";
    LAYER_NORM_EPS = "attention.layer_norm_epsilon";
    RMS_NORM_EPS = "attention.layer_norm_rms_epsilon";
    SLIDING_WINDOW = "attention.sliding_window";
    MAX_ALIBI_BIAS = "attention.max_alibi_bias";
    CLAMP_KQV = "attention.clamp_kqv";
    ATTENTION_SCALE = "attention.scale";
    LOGIT_SCALE = "logit_scale";
    USE_PARALLEL_RESIDUAL = "use_parallel_residual";
    TENSOR_DATA_LAYOUT = "tensor_data_layout";
    ROPE_DIMENSION_COUNT = "rope.dimension_count";
    ROPE_FREQ_BASE = "rope.freq_base";
    ROPE_SCALING_TYPE = "rope.scaling.type";
    ROPE_SCALING_FACTOR = "rope.scaling.factor";
    ROPE_SCALING_ATTN_FACTOR = "rope.scaling.attn_factor";
    ROPE_SCALING_ORIGINAL_CONTEXT = "rope.scaling.original_context_length";
    ROPE_SCALING_BETA_FAST = "rope.scaling.yarn_beta_fast";
    ROPE_SCALING_BETA_SLOW = "rope.scaling.yarn_beta_slow";
    ROPE_SCALE_LINEAR = "rope.scale_linear";

    TOKENIZER_MODEL = "tokenizer.ggml.model";
    TOKENIZER_PRE = "tokenizer.ggml.pre";
    TOKENIZER_TOKENS = "tokenizer.ggml.tokens";
    TOKENIZER_SCORES = "tokenizer.ggml.scores";
    TOKENIZER_TOKEN_TYPE = "tokenizer.ggml.token_type";
    TOKENIZER_MERGES = "tokenizer.ggml.merges";
    TOKENIZER_BOS_ID = "tokenizer.ggml.bos_token_id";
    TOKENIZER_EOS_ID = "tokenizer.ggml.eos_token_id";
    TOKENIZER_EOT_ID = "tokenizer.ggml.eot_token_id";
    TOKENIZER_UNK_ID = "tokenizer.ggml.unknown_token_id";
    TOKENIZER_PAD_ID = "tokenizer.ggml.padding_token_id";
    TOKENIZER_ADD_BOS = "tokenizer.ggml.add_bos_token";
    TOKENIZER_ADD_EOS = "tokenizer.ggml.add_eos_token";
    TOKENIZER_ADD_SPACE_PREFIX = "tokenizer.ggml.add_space_prefix";
    TOKENIZER_HF_JSON = "tokenizer.huggingface.json";
    CHAT_TEMPLATE = "tokenizer.chat_template";

    SPLIT_NO = "split.no";
    SPLIT_COUNT = "split.count";
    SPLIT_TENSORS_COUNT = "split.tensors.count";
}
