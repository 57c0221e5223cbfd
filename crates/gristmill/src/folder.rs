//! Writing a folder in Hugging Face's layout: weights, config.json and the tokenizer's files.
//!
//! Everything is first written into a hidden folder beside the target, which then gets its name, so that a folder of
//! this name is complete. Into a folder that is there already the finished files are moved one by one, weights first.

use std::fs;
use std::path::{Path, PathBuf};

use gristmill_convert::{ConvertOptions, Note, Plan, Report, Respelled};
use gristmill_tensor::{DType, Error as FileError, Format, ModelHeader};
use serde_json::Value;

use crate::index::create_shards;
use crate::write::Progress;
use crate::{Error, Opened, Result, Target};

/// Hugging Face cuts checkpoints into files of this size.
const MAX_SHARD_BYTES: u64 = 5_000_000_000;

/// Writes `source`, which is `opened` in Hugging Face's words, into a folder at `output`, or inside it when that is a
/// folder with something in it.
pub(crate) fn write_folder(
    opened: &Opened,
    source: &Respelled,
    target: Target,
    output: &Path,
    options: &ConvertOptions,
    progress: &mut Progress<'_>,
) -> Result<Report> {
    let (format, stem) = weights_of(target, output)?;
    let mut partial = None;
    let mut begin = |plan: &Plan, header: &ModelHeader<'_>| {
        let folder =
            if is_occupied(output) { output.join(plan.file_stem()) } else { output.into() };
        let hidden = Partial::create(folder, options.force)?;
        let weights = &hidden.hidden;
        let sink =
            create_shards(format, weights, stem, format.suffix(), header, MAX_SHARD_BYTES, false);
        partial = Some(hidden);
        sink
    };
    let report = gristmill_convert::convert_into(source, &mut begin, options, progress)?;
    let partial = partial.expect("a conversion that succeeded has begun its output");
    let mut notes = report.notes;
    partial.write("config.json", &config(opened, options)?)?;
    match opened.tokenizer().and_then(|tokenizer| Ok(tokenizer.to_files()?)) {
        Ok(files) => {
            files.iter().try_for_each(|(name, contents)| partial.write(name, contents))?;
        }
        Err(error) => notes.push(Note::NoTokenizerFiles { why: error.to_string() }),
    }
    Ok(Report { output: partial.finish()?, notes, ..report })
}

/// The format of the weights and how their files are called.
fn weights_of(target: Target, output: &Path) -> Result<(&'static dyn Format, &'static str)> {
    match target {
        #[cfg(feature = "torch")]
        Target::Pytorch => Ok((&gristmill_torch::Torch, "pytorch_model")),
        #[cfg(feature = "safetensors")]
        Target::Safetensors => Ok((&gristmill_safetensors::Safetensors, "model")),
        _ => {
            let what = "built without the feature for this format";
            Err(FileError::unsupported(output.display().to_string(), target.name(), what).into())
        }
    }
}

/// The text of config.json.
fn config(opened: &Opened, options: &ConvertOptions) -> Result<Vec<u8>> {
    let dtype = options.outtype.dtype().unwrap_or(DType::F32);
    let config = gristmill_arch::describe(&**opened.checkpoint(), dtype)?;
    let mut text = format!("{:#}", Value::Object(config)).into_bytes();
    text.push(b'\n');
    Ok(text)
}

fn is_occupied(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
}

/// A folder on its way to its name. Dropped without [`finish`](Partial::finish), it is removed.
struct Partial {
    hidden: PathBuf,
    target: PathBuf,
    force: bool,
}

impl Partial {
    fn create(target: PathBuf, force: bool) -> gristmill_tensor::Result<Partial> {
        if is_occupied(&target) && !force || target.is_file() {
            return Err(FileError::Exists { path: target });
        }
        let mut name = std::ffi::OsString::from(".");
        name.push(target.file_name().unwrap_or_default());
        name.push(format!(".{}.partial", std::process::id()));
        let hidden = target.with_file_name(name);
        fs::create_dir_all(&hidden).map_err(FileError::io(&hidden))?;
        Ok(Partial { hidden, target, force })
    }

    fn write(&self, name: &str, contents: &[u8]) -> Result<()> {
        let path = self.hidden.join(name);
        fs::write(&path, contents).map_err(FileError::io(path)).map_err(Error::File)
    }

    /// Gives the folder, or what is in it, its name.
    fn finish(self) -> gristmill_tensor::Result<PathBuf> {
        if !is_occupied(&self.target) {
            // Some systems rename over an empty folder, some do not.
            let _ = fs::remove_dir(&self.target);
            fs::rename(&self.hidden, &self.target).map_err(FileError::io(&self.target))?;
            return Ok(self.target.clone());
        }
        if !self.force {
            return Err(FileError::Exists { path: self.target.clone() });
        }
        let entries = fs::read_dir(&self.hidden).map_err(FileError::io(&self.hidden))?;
        let mut files: Vec<PathBuf> = entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()
            .map_err(FileError::io(&self.hidden))?;
        // The configuration and the index make a model of the weights, so they come last.
        files.sort_by_key(|file| file.extension().is_some_and(|suffix| suffix == "json"));
        for file in files {
            let named = self.target.join(file.file_name().unwrap_or_default());
            fs::rename(&file, &named).map_err(FileError::io(named))?;
        }
        Ok(self.target.clone())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Nothing can be done, nor need be, when it cannot be removed; after a rename it is gone already.
        let _ = fs::remove_dir_all(&self.hidden);
    }
}
