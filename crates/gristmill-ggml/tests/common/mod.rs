//! Files made by hand, independently of the writer; small models for the writer; and helpers to open them.
#![allow(dead_code, unreachable_pub)] // every test file uses its own part of this module

use std::path::Path;
use std::sync::Arc;

use gristmill_ggml::Ggml;
use gristmill_tensor::{
    AtomicFile, Checkpoint, Container, DType, Format, HeaderField, HeaderLayout, MemorySource,
    MetaArray, MetaValue, Metadata, ModelHeader, OpenContext, Result, TensorInfo, Vocabulary, keys,
};

pub const GGML: Ggml = Ggml::new(gristmill_arch::ggml_headers, gristmill_arch::is_ggml_tensor);

/// Two of every architecture's tensors: the embedding and a vector that every model has.
pub const NAMES: [(&str, &str, &str); 7] = [
    ("bloom", "tok_embeddings.weight", "output_norm.weight"),
    ("falcon", "transformer.word_embeddings.weight", "transformer.ln_f.weight"),
    ("gpt2", "model/wte", "model/ln_f/g"),
    ("gptj", "transformer.wte.weight", "transformer.ln_f.weight"),
    ("gptneox", "gpt_neox.embed_in.weight", "gpt_neox.final_layer_norm.weight"),
    ("llama", "tok_embeddings.weight", "norm.weight"),
    ("mpt", "transformer.wte.weight", "transformer.norm_f.weight"),
];

/// A file in the making.
#[derive(Clone, Default)]
pub struct Raw {
    pub bytes: Vec<u8>,
    pub aligned: bool,
}

impl Raw {
    /// A file that begins with this magic, as it stands in files, and these words.
    pub fn new(magic: &[u8; 4], words: &[u32]) -> Raw {
        let mut raw = Raw { bytes: magic.to_vec(), aligned: magic != b"lmgg" && magic != b"mmgg" };
        words.iter().for_each(|&word| {
            raw.u32(word);
        });
        raw
    }

    pub fn u32(&mut self, value: u32) -> &mut Raw {
        self.raw(&value.to_le_bytes())
    }

    pub fn raw(&mut self, bytes: &[u8]) -> &mut Raw {
        self.bytes.extend(bytes);
        self
    }

    pub fn token(&mut self, text: &[u8]) -> &mut Raw {
        self.u32(text.len() as u32).raw(text)
    }

    pub fn scored(&mut self, text: &[u8], score: f32) -> &mut Raw {
        self.token(text).raw(&score.to_le_bytes())
    }

    /// What stands in front of a tensor's data; `ne` is innermost first.
    pub fn record(&mut self, name: &str, ne: &[u32], id: u32) -> &mut Raw {
        self.u32(ne.len() as u32).u32(name.len() as u32).u32(id);
        ne.iter().for_each(|&ne| {
            self.u32(ne);
        });
        self.raw(name.as_bytes());
        if self.aligned {
            let len = self.bytes.len().next_multiple_of(32);
            self.bytes.resize(len, 0);
        }
        self
    }

    /// A tensor with data that tells its bytes apart.
    pub fn tensor(&mut self, name: &str, ne: &[u32], id: u32, n_bytes: usize) -> &mut Raw {
        self.record(name, ne, id).raw(&pattern(n_bytes))
    }

    pub fn open(&self) -> Result<Box<dyn Checkpoint>> {
        open(&self.bytes)
    }
}

/// A GPT-J of three tokens and three tensors.
pub fn gptj() -> Raw {
    let mut raw = Raw::new(b"lmgg", &[3, 16, 32, 2, 1, 4, 2002, 3]);
    raw.token(b"a").token(b"").token(&[0xff, b' ']);
    raw.tensor("transformer.wte.weight", &[32, 3], 2, 54);
    raw.tensor("transformer.ln_f.weight", &[32], 0, 128);
    raw.tensor("lm_head.weight", &[32, 3], 1, 192);
    raw
}

/// A LLaMA in GGJT v3.
pub fn llama() -> Raw {
    let mut raw = Raw::new(b"tjgg", &[3, 3, 32, 32, 2, 1, 16, 7]);
    raw.scored(b"a", 0.0).scored(b"", -1.0).scored(&[0xff, b' '], -2.0);
    raw.tensor("tok_embeddings.weight", &[32, 3], 8, 102);
    raw.tensor("norm.weight", &[32], 0, 128);
    raw
}

pub fn pattern(n_bytes: usize) -> Vec<u8> {
    (0..n_bytes).map(|at| (at * 7 % 251) as u8).collect()
}

pub fn open(bytes: &[u8]) -> Result<Box<dyn Checkpoint>> {
    open_as(bytes, None)
}

/// Opens a file whose architecture the user has named.
pub fn open_as(bytes: &[u8], architecture: Option<&str>) -> Result<Box<dyn Checkpoint>> {
    let source = Arc::new(MemorySource::new("test.bin", bytes.to_vec()));
    let context =
        OpenContext { architecture: architecture.map(String::from), ..OpenContext::default() };
    GGML.open(source, &context)
}

pub fn open_path(path: &Path) -> Result<Box<dyn Checkpoint>> {
    let source = gristmill_tensor::open_source(path, gristmill_tensor::Access::Read)?;
    GGML.open(source, &OpenContext::default())
}

/// The message of a file that must not open.
pub fn refusal(bytes: &[u8]) -> String {
    open(bytes).err().expect("the file must be refused").to_string()
}

/// Writes a file of these tensors and gives its bytes.
pub fn write(
    container: Container,
    quant_version: u32,
    metadata: &Metadata,
    tensors: &[(TensorInfo, Vec<u8>)],
) -> Result<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.bin");
    let infos: Vec<TensorInfo> = tensors.iter().map(|(info, _)| info.clone()).collect();
    let file = AtomicFile::create(&path, true)?;
    let header = ModelHeader { metadata, tensors: &infos };
    let sink = GGML.writing(container, quant_version).create(file, &header)?;
    for (position, (_, bytes)) in tensors.iter().enumerate() {
        sink.write(position, 0, bytes)?;
    }
    sink.finish()?;
    Ok(std::fs::read(path).unwrap())
}

/// What a file with a header of `layout` says of a model of three tokens.
pub fn metadata(layout: &HeaderLayout, n_embd: u32) -> Metadata {
    let mut metadata = Metadata::new("test.bin");
    metadata.set(keys::ARCHITECTURE, layout.architecture);
    let key = |suffix: &str| keys::arch(layout.architecture, suffix);
    metadata.set(key(keys::VOCAB_SIZE), 3u32);
    metadata.set(key(keys::FEED_FORWARD_LENGTH), n_embd * 3);
    for &field in layout.fields {
        match field {
            HeaderField::Count(suffix) => {
                let count = match suffix {
                    keys::EMBEDDING_LENGTH => n_embd,
                    keys::CONTEXT_LENGTH => 17,
                    keys::ROPE_DIMENSION_COUNT => 6,
                    keys::BLOCK_COUNT => 5,
                    keys::HEAD_COUNT => 4,
                    _ => 2,
                };
                metadata.set(key(suffix), count);
            }
            HeaderField::Float(suffix) => metadata.set(key(suffix), 7.5f32),
            HeaderField::Flag(suffix) => metadata.set(key(suffix), false),
            _ => {}
        }
    }
    let tokens = MetaArray::Bytes(vec![b"a".to_vec(), vec![0xff, 0xfe], Vec::new()]);
    metadata.set(keys::TOKENIZER_TOKENS, MetaValue::Array(tokens));
    if layout.vocabulary == Vocabulary::SentencePiece {
        metadata.set(keys::TOKENIZER_SCORES, vec![0.0f32, -1.0, -2.0]);
    }
    metadata
}

/// The embedding in `dtype` and a vector of that architecture.
pub fn tensors(arch: &str, dtype: DType, n_embd: usize) -> Vec<(TensorInfo, Vec<u8>)> {
    let (_, matrix, vector) = NAMES.into_iter().find(|&(name, ..)| name == arch).unwrap();
    let infos = [
        TensorInfo::new(matrix, dtype, [3, n_embd]),
        TensorInfo::new(vector, DType::F32, [n_embd]),
    ];
    infos.map(|info| (info.clone(), pattern(info.n_bytes() as usize))).to_vec()
}

/// Reads every tensor, whole and by its last row, and checks that the sizes are as described.
pub fn read_all(model: &dyn Checkpoint) {
    for info in model.tensors() {
        let tensor = model.tensor(&info.name).unwrap();
        assert_eq!(tensor.bytes.len() as u64, info.n_bytes());
        let rows = info.shape.rows();
        let last = model.read(&info.name, rows - 1..rows).unwrap();
        assert!(tensor.bytes.ends_with(&last));
    }
}
