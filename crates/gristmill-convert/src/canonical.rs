//! Any checkpoint in the house's words: GGUF's names and keys, rows in GGUF's order.
//!
//! Whoever runs or converts a model reads through a [`Canonical`] and never meets another dialect. It is made of a
//! checkpoint and its `config.json`, or of a legacy ggml file, which needs none; names are translated by the architecture's weight table, and rows are put into
//! their place while they are read, so that nothing is ever held but the rows that were asked for.

use std::ops::Range;
use std::sync::Arc;

use gristmill_arch::{Architecture, Config, Dialect, Direction, Heads};
use gristmill_tensor::{Bytes, Checkpoint, Metadata, TensorIndex, TensorInfo, keys};
use gristmill_tokenizer::Tokenizer;
use serde_json::Value;

use crate::translate::{EMBEDDING, Origin, translate};
use crate::{Note, Result, gather};

/// What a checkpoint's folder says about it besides the weights.
#[derive(Clone, Copy)]
pub struct Description<'a> {
    /// What people call the model, for `general.name`.
    pub name: &'a str,
    /// The configuration: what is in `config.json`.
    pub config: &'a Value,
    /// The configuration's file, for messages.
    pub config_file: &'a str,
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

impl Canonical {
    /// Translates `raw`. Only names and numbers are read, but for the output matrix where it may be the embedding
    /// once more.
    ///
    /// # Errors
    /// When the configuration is of an unknown architecture or contradicts the weights, when tensors are missing or
    /// unknown, and when the vocabulary does not fit.
    pub fn new(raw: Arc<dyn Checkpoint>, about: &Description<'_>) -> Result<Canonical> {
        let arch = gristmill_arch::from_config(about.config, about.config_file)?;
        let config = Config::new(about.config, about.config_file);
        let mut metadata = Metadata::new(about.config_file);
        metadata.set(keys::ARCHITECTURE, arch.name());
        metadata.set(keys::NAME, about.name);
        arch.configure(&config, &mut metadata)?;
        let mut notes = Vec::new();
        let tensors = translate(arch, Dialect::HuggingFace, Some(&config), &*raw, &mut notes)?;
        Canonical::assemble(raw, arch, metadata, tensors, notes, about.tokenizer)
    }

    /// Translates `raw`, which has the numbers of its model in its own metadata: a legacy ggml file, or a GGUF file
    /// that is to have another `tokenizer`. `name` is what to call a model that has no name.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn described_by_itself(
        raw: Arc<dyn Checkpoint>,
        name: &str,
        tokenizer: Option<&Tokenizer>,
    ) -> Result<Canonical> {
        let arch = gristmill_arch::architecture_of(raw.metadata())?;
        let mut metadata = raw.metadata().clone();
        if !metadata.contains(keys::NAME) {
            metadata.set(keys::NAME, name);
        }
        let mut notes = Vec::new();
        let tensors = translate(arch, Dialect::Ggml, None, &*raw, &mut notes)?;
        Canonical::assemble(raw, arch, metadata, tensors, notes, tokenizer)
    }

    fn assemble(
        raw: Arc<dyn Checkpoint>,
        arch: &dyn Architecture,
        mut metadata: Metadata,
        tensors: Vec<(TensorInfo, Origin)>,
        notes: Vec<Note>,
        tokenizer: Option<&Tokenizer>,
    ) -> Result<Canonical> {
        let (infos, origins) = tensors.into_iter().unzip();
        let index = TensorIndex::new(infos).expect("translate refuses a name that occurs twice");
        arch.infer(&index, &mut metadata)?;
        let heads = Heads::from_metadata(arch, &metadata)?;
        let mut canonical = Canonical { raw, metadata, index, origins, heads, notes };
        gristmill_arch::program(&canonical)?;
        canonical.add_vocabulary(tokenizer)?;
        Ok(canonical)
    }

    /// What the user should know about the translation.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    fn add_vocabulary(&mut self, tokenizer: Option<&Tokenizer>) -> Result<()> {
        let Some(tokenizer) = tokenizer else { return Ok(()) };
        let n_vocab = self.expect(EMBEDDING)?.shape.rows();
        let mut notes = tokenizer.notes().to_vec();
        notes.extend(tokenizer.to_metadata(n_vocab, &mut self.metadata)?);
        self.notes.extend(notes.into_iter().map(Note::Tokenizer));
        Ok(())
    }
}

impl Checkpoint for Canonical {
    fn format(&self) -> String {
        self.raw.format()
    }

    fn name(&self) -> String {
        self.raw.name()
    }

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn index(&self) -> &TensorIndex {
        &self.index
    }

    fn read_rows(&self, position: usize, rows: Range<usize>) -> gristmill_tensor::Result<Bytes> {
        let info = &self.index.infos()[position];
        match &self.origins[position] {
            Origin::Computed(bytes) => {
                let row_bytes = info.row_bytes();
                Ok(bytes.slice(rows.start * row_bytes..rows.end * row_bytes))
            }
            Origin::Stored { info: stored, transform } => {
                let bytes = gather::read(
                    &*self.raw,
                    stored,
                    *transform,
                    Direction::ToHouse,
                    self.heads,
                    rows,
                )?;
                Ok(gather::widen(bytes, gather::given(stored, *transform), info.dtype))
            }
        }
    }
}
