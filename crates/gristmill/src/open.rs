//! Opening a model: whatever lies at a path, in the house's words.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use gristmill_convert::{Canonical, Description, Note};
use gristmill_graph::Program;
use gristmill_runtime::{Model, Residence};
use gristmill_tensor::{
    Access, Checkpoint, Error as FileError, Format, Limits, Metadata, OpenContext, keys,
};
use gristmill_tokenizer::Tokenizer;
use serde_json::Value;

use crate::formats::{GGML, recognize};
use crate::layout::{Layout, read_limited};
use crate::{Error, Result};

const CONFIG: &str = "config.json";

/// How to open a model.
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    /// Memory maps, for running; or reads, for conversion within a memory budget.
    pub access: Access,
    /// The most that files may ask for.
    pub limits: Limits,
    /// The architecture, as `general.architecture` names it, of files that do not say it and could be several.
    pub architecture: Option<String>,
    /// A folder or file with the model's tokenizer, instead of what the model brings along.
    pub tokenizer: Option<PathBuf>,
    /// Go on without a tokenizer where there is none. The model then runs on token ids only.
    pub vocab_less: bool,
}

/// An opened model. Of the weights, nothing has been read yet.
pub struct Opened {
    path: PathBuf,
    files: Vec<PathBuf>,
    raw: Arc<dyn Checkpoint>,
    checkpoint: Arc<dyn Checkpoint>,
    notes: Vec<Note>,
    tokenizer: OnceLock<Arc<Tokenizer>>,
}

/// Opens the model at `path`: a GGUF or legacy ggml file, a checkpoint's folder, or a file of one with what belongs to
/// it beside it. What it is is decided by content.
///
/// # Errors
/// [`Error::Inputs`] listing all files that are missing or not what they should be, [`Error::Unrecognized`] saying
/// what a file is instead of a model, and whatever is wrong inside the files.
pub fn open(path: impl AsRef<Path>) -> Result<Opened> {
    open_with(path, &OpenOptions::default())
}

/// As [`open`], with options.
///
/// # Errors
/// As [`open`].
pub fn open_with(path: impl AsRef<Path>, options: &OpenOptions) -> Result<Opened> {
    let path = path.as_ref();
    let layout = Layout::find(path, &options.limits)?;
    let Companions { config, tokenizer } = Companions::find(path, &layout, options)?;
    let raw = open_weights(&layout, options)?;
    // Legacy files have a vocabulary as GGUF files have, but not in the form that models are written with.
    let bare = match config.is_none() && is_bare(&*raw) {
        true => Some(Arc::new(Tokenizer::from_metadata(raw.metadata())?)),
        false => None,
    };
    if let (Some(given), Some(bare)) = (&tokenizer, &bare) {
        given.check_matches(bare)?;
    }
    let tokenizer = tokenizer.or(bare);
    let (name, about) = (&*layout.name, tokenizer.as_deref());
    let canonical = match &config {
        Some(config) => {
            let config_file = layout.folder.join(CONFIG).display().to_string();
            let about = Description { name, config, config_file: &config_file, tokenizer: about };
            Some(Canonical::new(Arc::clone(&raw), &about)?)
        }
        None if is_legacy(&*raw) || about.is_some() => {
            Some(Canonical::described_by_itself(Arc::clone(&raw), name, about)?)
        }
        // A GGUF file needs no other words.
        None => None,
    };
    let (checkpoint, notes): (Arc<dyn Checkpoint>, _) = match canonical {
        None => (Arc::clone(&raw), Vec::new()),
        Some(canonical) => {
            let notes = canonical.notes().to_vec();
            (Arc::new(canonical), notes)
        }
    };
    let tokenizer = tokenizer.map_or_else(OnceLock::new, OnceLock::from);
    Ok(Opened { path: path.into(), files: layout.weights, raw, checkpoint, notes, tokenizer })
}

/// Opens the weights at `path` as their files describe them: names and metadata are not translated, and neither
/// `config.json` nor a tokenizer is looked for. For looking at models that gristmill does not know.
///
/// # Errors
/// As [`open`].
pub fn open_raw(path: impl AsRef<Path>, options: &OpenOptions) -> Result<Arc<dyn Checkpoint>> {
    let path = path.as_ref();
    let layout = Layout::find(path, &options.limits)?;
    let mut problems = Vec::new();
    recognize_all(&layout, &mut problems)?;
    refuse(path, problems)?;
    open_weights(&layout, options)
}

/// What stands beside the weights.
struct Companions {
    /// The contents of `config.json`; files that describe themselves need none.
    config: Option<Value>,
    /// The tokenizer, where it is not in the file with the weights.
    tokenizer: Option<Arc<Tokenizer>>,
}

impl Companions {
    /// Looks at every file that is needed, and lists all that is wrong at once.
    fn find(path: &Path, layout: &Layout, options: &OpenOptions) -> Result<Companions> {
        let mut problems = Vec::new();
        let formats = recognize_all(layout, &mut problems)?;
        let stands_alone = formats.iter().any(|format| SELF_DESCRIBING.contains(format));
        let mut config = None;
        if !stands_alone {
            match read_config(&layout.folder, &options.limits) {
                Ok(value) => config = Some(value),
                Err(error) => problems.push(error.to_string()),
            }
        }
        let found = match &options.tokenizer {
            Some(given) => Some(Tokenizer::from_path(given, &options.limits)),
            None if stands_alone => None,
            None => Some(Tokenizer::from_folder(&layout.folder, &options.limits)),
        };
        let tokenizer = match found {
            None => None,
            Some(Ok(tokenizer)) => Some(Arc::new(tokenizer)),
            Some(Err(gristmill_tokenizer::Error::Missing { .. })) if options.vocab_less => None,
            Some(Err(error)) => {
                problems.push(error.to_string());
                None
            }
        };
        refuse(path, problems)?;
        Ok(Companions { config, tokenizer })
    }
}

/// The names of the formats of the weights; files that are missing or of no format are added to the problems.
fn recognize_all(layout: &Layout, problems: &mut Vec<String>) -> Result<Vec<&'static str>> {
    let mut formats = Vec::new();
    for file in &layout.weights {
        match recognize(file, Access::Read) {
            Ok((_, format)) => formats.push(format.name()),
            // A single file that is no model needs no list of problems.
            Err(error) if layout.weights.len() == 1 => return Err(error),
            Err(error) => problems.push(error.to_string()),
        }
    }
    Ok(formats)
}

fn open_weights(layout: &Layout, options: &OpenOptions) -> Result<Arc<dyn Checkpoint>> {
    let (limits, architecture) = (options.limits.clone(), options.architecture.clone());
    let context = OpenContext { limits, architecture };
    let mut parts = Vec::with_capacity(layout.weights.len());
    let mut legacy = false;
    for file in &layout.weights {
        let (source, format) = recognize(file, options.access)?;
        legacy |= format.name() == GGML.name();
        parts.push(format.open(source, &context)?);
    }
    match &layout.index {
        Some(index) => Ok(Arc::new(index.join(parts)?)),
        // One part of several has fewer columns than its header says, which joining finds out.
        None if legacy => Ok(gristmill_ggml::join(parts)?.into()),
        None if parts.len() == 1 && !parts[0].metadata().contains(keys::SPLIT_COUNT) => {
            Ok(parts.remove(0).into())
        }
        None => Ok(Arc::new(gristmill_gguf::join(parts)?)),
    }
}

/// The formats whose files say what their model is.
const SELF_DESCRIBING: [&str; 2] = ["GGUF", "GGML"];

/// Whether a checkpoint that describes itself does so in the words of a legacy ggml file.
fn is_legacy(raw: &dyn Checkpoint) -> bool {
    raw.find("token_embd.weight").is_none() && raw.metadata().contains(keys::ARCHITECTURE)
}

/// Whether a legacy file has a vocabulary.
fn is_bare(raw: &dyn Checkpoint) -> bool {
    is_legacy(raw) && raw.metadata().contains(keys::TOKENIZER_TOKENS)
}

fn refuse(path: &Path, problems: Vec<String>) -> Result<()> {
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Error::Inputs { path: path.into(), problems }),
    }
}

fn read_config(folder: &Path, limits: &Limits) -> Result<Value> {
    let path = folder.join(CONFIG);
    if !path.exists() {
        let hint = "; it says which model this is: take it from where the weights were published";
        let (file, what) = (folder.display().to_string(), CONFIG.into());
        return Err(FileError::Missing { file, what, hint: hint.into() }.into());
    }
    let bytes = read_limited(&path, limits)?;
    Ok(serde_json::from_slice(&bytes).map_err(|error| {
        let what = format!("line {} column {}: {error}", error.line(), error.column());
        FileError::malformed(path.display().to_string(), "JSON", 0, what)
    })?)
}

impl Opened {
    /// The path that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The files that hold the weights.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// The model under the house's names and keys.
    pub fn checkpoint(&self) -> &Arc<dyn Checkpoint> {
        &self.checkpoint
    }

    /// The model as its files describe it.
    pub fn raw(&self) -> &Arc<dyn Checkpoint> {
        &self.raw
    }

    /// The metadata, under GGUF's keys.
    pub fn metadata(&self) -> &Metadata {
        self.checkpoint.metadata()
    }

    /// What the user should know about the files.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// The tokenizer, made when it is first asked for.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] when the model has none or it is damaged.
    pub fn tokenizer(&self) -> Result<Arc<Tokenizer>> {
        if let Some(tokenizer) = self.tokenizer.get() {
            return Ok(Arc::clone(tokenizer));
        }
        let tokenizer = Arc::new(Tokenizer::from_metadata(self.metadata())?);
        Ok(Arc::clone(self.tokenizer.get_or_init(|| tokenizer)))
    }

    /// The forward pass, checked against the weights.
    ///
    /// # Errors
    /// [`Error::Architecture`] when the model is of an unknown architecture or contradicts it.
    pub fn program(&self) -> Result<(gristmill_arch::Hparams, Program)> {
        Ok(gristmill_arch::program(&*self.checkpoint)?)
    }

    /// The model, ready to run. Weights in memory maps are used in place, unless they are few.
    ///
    /// # Errors
    /// As [`program`](Self::program), and [`Error::Runtime`] when the weights cannot be run.
    pub fn model(&self) -> Result<Arc<Model>> {
        self.model_in(Residence::Auto)
    }

    /// The model, ready to run, with its weights where `residence` says.
    ///
    /// # Errors
    /// As [`model`](Self::model).
    pub fn model_in(&self, residence: Residence) -> Result<Arc<Model>> {
        let (_, program) = self.program()?;
        Ok(Arc::new(Model::bind_with(program, &*self.checkpoint, residence)?))
    }
}
