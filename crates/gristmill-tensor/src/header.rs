//! Headers that do not say what they are.
//!
//! A legacy ggml file begins with a handful of numbers whose order only its architecture knows. An architecture
//! describes that order with a [`HeaderLayout`], from which the same crate reads and writes; neither learns more of
//! the other than this.

/// The order of the numbers at the head of a legacy ggml file of one architecture, and what the file leaves unsaid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeaderLayout {
    /// The architecture, as `general.architecture` names it.
    pub architecture: &'static str,
    /// Whose files look like this: `"ggml's examples, ctransformers"`.
    pub producer: &'static str,
    /// The containers in which the layout is found.
    pub containers: &'static [Container],
    /// The numbers, each of four bytes, from behind the magic and version up to the vocabulary.
    pub fields: &'static [HeaderField],
    /// How the vocabulary that follows is written.
    pub vocabulary: Vocabulary,
    /// Whether scores and alignment are as the container has them. One family of files says GGJT but has scores
    /// without alignment.
    pub aligned: bool,
    /// The version of the block layouts in quantized files whose container and file type state none: that of the time
    /// when the first were written.
    pub uncounted: u32,
    /// What every such model has although no number says so: a key's suffix and its value.
    pub unsaid: &'static [(&'static str, Unsaid)],
}

/// A container of the ggml family: what the magic and version in front of the header say.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Container {
    /// `ggml`: no version, no scores, no alignment.
    Ggml,
    /// `ggmf` version 1: scores, no alignment.
    Ggmf,
    /// `ggjt` versions 1 to 3: scores, aligned data.
    Ggjt,
    /// `ggcc` version 10 (ggllm.cpp): scores, merges, aligned data.
    Ggcc,
    /// `ggmm` (GPT4All's MPT): no version, no scores, no alignment.
    Ggmm,
}

/// One number of a header.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum HeaderField {
    /// A 32-bit count under this suffix below the architecture's name.
    Count(&'static str),
    /// A 32-bit float under this suffix; 0 means that there is none.
    Float(&'static str),
    /// 0 or 1 under this suffix.
    Flag(&'static str),
    /// Tokens in the vocabulary, the rows of the embedding.
    NVocab,
    /// The same number once more.
    NVocabAgain,
    /// LLaMA's `n_mult`: the width of the feed-forward layer is two thirds of four times the width, rounded up to a
    /// multiple of this. Read and forgotten, since the tensors tell; found again by trying when written.
    NMult,
    /// One of these numbers, which the tensors tell as well; the first is written.
    OneOf(&'static [u32]),
    /// Merges of the tokenizer. They follow the tokens, counted once more.
    NMerges,
    /// The type of most weights, in thousands of the version of the block layouts.
    FileType,
}

/// How the texts of a legacy vocabulary stand for their bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Vocabulary {
    /// LLaMA's: SentencePiece pieces with their blanks written as blanks.
    SentencePiece,
    /// GPT-2's descendants: the bytes of each token.
    Bytes,
    /// ggml's MPT: each byte as the UTF-8 form of the character with that number.
    Latin1,
    /// GPT4All's MPT: text, with bit 31 of the length marking special tokens.
    Marked,
}

/// A value that no number of the header gives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unsaid {
    /// A count.
    Count(u32),
    /// A float.
    Float(f32),
    /// A flag.
    Flag(bool),
}
