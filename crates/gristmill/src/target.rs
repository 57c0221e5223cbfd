//! What a model can be written as.

use gristmill_convert::Mixture;
use gristmill_tensor::Container;

/// A kind of output. Each is a row of the table below.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Target {
    /// GGUF v3: today's runtimes.
    #[default]
    Gguf,
    /// GGML: ctransformers, koboldcpp, llm-rs, ggml's example programs; GPT4All's GPT-J with block layouts of version 0.
    Ggml,
    /// GGMF v1: llama.cpp of March 2023.
    Ggmf,
    /// GGJT v1 to v3: llama.cpp from April to August 2023, llm-rs.
    Ggjt,
    /// GGMM: GPT4All's MPT.
    Ggmm,
    /// A folder with safetensors, config.json and tokenizer files, as Hugging Face's Transformers load it.
    Safetensors,
    /// A folder with pytorch_model.bin, config.json and tokenizer files.
    Pytorch,
}

impl Target {
    /// Every target.
    pub const ALL: [Target; 7] = [
        Target::Gguf,
        Target::Ggml,
        Target::Ggmf,
        Target::Ggjt,
        Target::Ggmm,
        Target::Safetensors,
        Target::Pytorch,
    ];

    /// The name, as the command line has it.
    pub const fn name(self) -> &'static str {
        match self {
            Target::Gguf => "gguf",
            Target::Ggml => "ggml",
            Target::Ggmf => "ggmf",
            Target::Ggjt => "ggjt",
            Target::Ggmm => "ggmm",
            Target::Safetensors => "safetensors",
            Target::Pytorch => "pytorch",
        }
    }

    /// The target with this name, in any letter case.
    pub fn from_name(name: &str) -> Option<Target> {
        Target::ALL.into_iter().find(|target| target.name().eq_ignore_ascii_case(name))
    }

    /// Whether the output is a folder in Hugging Face's layout.
    pub const fn is_folder(self) -> bool {
        matches!(self, Target::Safetensors | Target::Pytorch)
    }

    /// The version of the block layouts to write where nobody says: the only one that the container has, or today's.
    pub const fn quant_version(self) -> u32 {
        match self {
            Target::Ggmf | Target::Ggmm => 0,
            _ => 2,
        }
    }

    /// The container of a legacy file.
    pub(crate) const fn container(self) -> Option<Container> {
        match self {
            Target::Ggml => Some(Container::Ggml),
            Target::Ggmf => Some(Container::Ggmf),
            Target::Ggjt => Some(Container::Ggjt),
            Target::Ggmm => Some(Container::Ggmm),
            Target::Gguf | Target::Safetensors | Target::Pytorch => None,
        }
    }

    /// How the types of such a file go together. Loaders of GGJT look at each tensor's type, those of the older
    /// containers only at the file's.
    pub(crate) const fn mixture(self) -> Mixture {
        match self {
            Target::Gguf | Target::Ggjt => Mixture::Fine,
            Target::Ggml | Target::Ggmf => Mixture::Uniform,
            Target::Ggmm => Mixture::UniformButEmbedding,
            Target::Safetensors | Target::Pytorch => Mixture::Plain,
        }
    }
}
