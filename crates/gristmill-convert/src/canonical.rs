//! Any checkpoint in the house's words: GGUF's names and keys, rows in GGUF's order.
//!
//! Whoever runs or converts a model reads through a [`Canonical`] and never meets another dialect. It is made of a
//! checkpoint and its `config.json`; names are translated by the architecture's weight table, and rows are put into
//! their place while they are read, so that nothing is ever held but the rows that were asked for.

use std::ops::Range;
use std::sync::Arc;

use gristmill_arch::{Architecture, Config, Heads, Transform};
use gristmill_tensor::{
    Bytes, Checkpoint, DType, Metadata, Tensor, TensorIndex, TensorInfo, keys,
};
use gristmill_tokenizer::Tokenizer;

use crate::{Error, Note, Result, gather, tied};

/// The names of the two matrices that many models share.
pub(crate) const EMBEDDING: &str = "token_embd.weight";
pub(crate) const OUTPUT: &str = "output.weight";

/// What a checkpoint's folder says about it besides the weights.
#[derive(Clone, Copy)]
pub struct Description<'a> {
    /// What people call the model, for `general.name`.
    pub name: &'a str,
    /// The configuration: Hugging Face's `config.json`.
    pub config: Config<'a>,
    /// The tokenizer. Without it the model runs on token ids only.
    pub tokenizer: Option<&'a Tokenizer>,
}

/// A checkpoint under the house's names and keys.
pub struct Canonical {
    raw: Arc<dyn Checkpoint>,
    metadata: Metadata,
    index: TensorIndex,
    /// Parallel to the index.
    origins: Vec<Origin>,
    heads: Heads,
    notes: Vec<Note>,
}

/// Where a tensor's rows come from.
enum Origin {
    /// The checkpoint has them under this name.
    Stored { info: TensorInfo, transform: Transform },
    /// The architecture computed them from the configuration.
    Computed(Tensor),
}

impl Canonical {
    /// Translates `raw`. Only names and numbers are read, but for the output matrix where it may be the embedding
    /// once more.
    ///
    /// # Errors
    /// When the configuration is of an unknown architecture or contradicts the weights, when tensors are missing or
    /// unknown, and when the vocabulary does not fit.
    pub fn new(raw: Arc<dyn Checkpoint>, about: &Description<'_>) -> Result<Canonical> {
        let arch = gristmill_arch::from_config(about.config)?;
        let mut metadata = Metadata::new(about.config.file());
        metadata.set(keys::ARCHITECTURE, arch.name());
        metadata.set(keys::NAME, about.name);
        arch.configure(about.config, &mut metadata)?;
        let heads = Heads::from_metadata(arch, &metadata)?;

        let mut notes = Vec::new();
        let mut named = translate(arch, &*raw, &mut notes)?;
        tied::drop_output(arch, &*raw, about.config, &mut named, &mut notes)?;
        named.sort_by_cached_key(|(house, _)| order(arch, house));
        let mut infos = Vec::with_capacity(named.len());
        let mut origins = Vec::with_capacity(named.len());
        for (house, origin) in named {
            infos.push(origin.presented_as(house)?);
            origins.push(origin);
        }
        let index = TensorIndex::new(infos).expect("translate refuses a name that occurs twice");
        let mut canonical = Canonical { raw, metadata, index, origins, heads, notes };
        gristmill_arch::program(&canonical)?;
        canonical.add_vocabulary(about.tokenizer)?;
        Ok(canonical)
    }

    /// What the user should know about the translation.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    fn add_vocabulary(&mut self, tokenizer: Option<&Tokenizer>) -> Result<()> {
        let Some(tokenizer) = tokenizer else { return Ok(()) };
        let n_vocab = self.expect(EMBEDDING)?.shape.rows();
        let notes = tokenizer.to_metadata(n_vocab, &mut self.metadata)?;
        self.notes.extend(notes.into_iter().map(Note::Tokenizer));
        Ok(())
    }
}

impl Origin {
    /// The tensor's description under its house name.
    fn presented_as(&self, name: String) -> Result<TensorInfo> {
        let stored = match self {
            Origin::Stored { info, .. } => info,
            Origin::Computed(tensor) => &tensor.info,
        };
        Ok(TensorInfo { name, dtype: presented(stored)?, shape: stored.shape.clone() })
    }
}

/// The type that the house sees. Types that no kernel and no file of ours knows are widened.
fn presented(stored: &TensorInfo) -> Result<DType> {
    match stored.dtype {
        DType::F32 | DType::F16 | DType::BF16 => Ok(stored.dtype),
        dtype if dtype.is_quantized() => Ok(dtype),
        DType::F64 | DType::F8_E4M3 | DType::F8_E5M2 => Ok(DType::F32),
        dtype => Err(Error::NotAWeight { tensor: stored.name.clone(), dtype }),
    }
}

/// A tensor's house name and where it comes from.
type Named = (String, Origin);
