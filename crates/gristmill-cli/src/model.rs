//! Opening models for the commands.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gristmill::runtime::{Model, Residence, Session, SessionOptions};
use gristmill::tensor::{Access, Checkpoint, TensorInfo, keys};
use gristmill::tokenizer::{EncodeOptions, Tokenizer};
use gristmill::{OpenOptions, Opened};

use crate::args::{CacheTypeArg, MemoryArgs, SourceArgs};
use crate::exit::Result;

/// A model ready to run.
pub(crate) struct Loaded {
    /// Its weights, bound to its program.
    pub(crate) model: Arc<Model>,
    /// How long opening and binding took.
    pub(crate) load_time: Duration,
    opened: Opened,
}

impl Loaded {
    /// Opens a model. A tokenizer is only missed when text is to be read or written.
    pub(crate) fn open(path: &Path, args: &SourceArgs) -> Result<Loaded> {
        Loaded::open_in(path, args, MemoryArgs::default())
    }

    /// The same, with a say in where the weights are.
    pub(crate) fn open_in(path: &Path, args: &SourceArgs, memory: MemoryArgs) -> Result<Loaded> {
        let started = Instant::now();
        let access = if memory.mlock { Access::Locked } else { Access::Map };
        let options = OpenOptions { vocab_less: true, access, ..opening(args) };
        let opened = gristmill::open_with(path, &options)?;
        let residence = if memory.no_mmap { Residence::Copied } else { Residence::Auto };
        let model = opened.model_in(residence)?;
        Ok(Loaded { model, load_time: started.elapsed(), opened })
    }

    /// The tokenizer.
    pub(crate) fn tokenizer(&self) -> Result<Arc<Tokenizer>> {
        Ok(self.opened.tokenizer()?)
    }

    /// Token ids of a text, with the tokens that the model wants around it if `add_special`.
    pub(crate) fn encode(
        &self,
        text: &str,
        add_special: bool,
        parse_special: bool,
    ) -> Result<Vec<u32>> {
        let options = EncodeOptions { add_special, parse_special };
        Ok(self.tokenizer()?.encode(text, options).map_err(gristmill::Error::from)?)
    }

    /// The architecture, as `general.architecture` names it.
    pub(crate) fn architecture(&self) -> Option<&str> {
        self.opened.metadata().get_str(keys::ARCHITECTURE).ok()?
    }

    /// Tokens of context that the model was made for.
    pub(crate) fn trained_context(&self) -> Option<usize> {
        let key = keys::arch(self.architecture()?, keys::CONTEXT_LENGTH);
        self.opened.metadata().get_usize(&key).ok()?
    }

    /// The tensors, under the house's names.
    pub(crate) fn tensors(&self) -> &[TensorInfo] {
        self.opened.checkpoint().tensors()
    }
}

/// A session of `n_ctx` tokens.
pub(crate) fn session(
    loaded: &Loaded,
    n_ctx: usize,
    n_batch: usize,
    threads: Option<usize>,
    cache: CacheTypeArg,
    deterministic: bool,
) -> Result<Session> {
    let defaults = SessionOptions::default();
    let options = SessionOptions {
        n_ctx,
        n_batch: n_batch.max(1),
        n_threads: threads.unwrap_or(defaults.n_threads),
        cache: cache.into(),
        deterministic,
    };
    Ok(Session::new(Arc::clone(&loaded.model), options).map_err(gristmill::Error::from)?)
}

/// The tokenizer of a model, without binding its weights.
pub(crate) fn tokenizer(path: &Path, args: &SourceArgs) -> Result<Arc<Tokenizer>> {
    Ok(gristmill::open_with(path, &opening(args))?.tokenizer()?)
}

/// What the command line says about the model to be opened.
pub(crate) fn opening(args: &SourceArgs) -> OpenOptions {
    OpenOptions {
        architecture: args.arch.clone(),
        tokenizer: args.tokenizer.clone(),
        ..OpenOptions::default()
    }
}

/// A file as `inspect` shows it: under the house's names where gristmill knows the model, else as it stands.
pub(crate) struct Inspected {
    /// What is shown.
    pub(crate) checkpoint: Arc<dyn Checkpoint>,
    /// The tokenizer, if there is one.
    pub(crate) tokenizer: Option<Arc<Tokenizer>>,
    /// What keeps the model from being run or converted, and other things to know.
    pub(crate) problems: Vec<String>,
}

impl Inspected {
    /// Opens whatever is there.
    pub(crate) fn open(path: &Path, args: &SourceArgs) -> gristmill::Result<Inspected> {
        let options = OpenOptions { vocab_less: true, ..opening(args) };
        match gristmill::open_with(path, &options) {
            Ok(opened) => {
                let mut problems: Vec<String> =
                    opened.notes().iter().map(ToString::to_string).collect();
                let tokenizer =
                    opened.tokenizer().map_err(|error| problems.push(error.to_string())).ok();
                if let Err(error) = opened.program() {
                    problems.push(error.to_string());
                }
                Ok(Inspected { checkpoint: Arc::clone(opened.checkpoint()), tokenizer, problems })
            }
            // Whatever cannot be opened as a model may still be a file of tensors that is worth a look.
            Err(error) => {
                let checkpoint = gristmill::open_raw(path, &options)?;
                Ok(Inspected { checkpoint, tokenizer: None, problems: vec![error.to_string()] })
            }
        }
    }

    /// The architecture, as `general.architecture` names it.
    pub(crate) fn architecture(&self) -> Option<&str> {
        self.checkpoint.metadata().get_str(keys::ARCHITECTURE).ok().flatten()
    }
}
