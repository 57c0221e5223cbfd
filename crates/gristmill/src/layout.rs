//! Which files make a model: the layouts of folders that are found in the wild.
//!
//! | layout | weights |
//! |---|---|
//! | Hugging Face, safetensors | `model.safetensors`, or `model.safetensors.index.json` and the shards it names |
//! | Hugging Face, PyTorch | `pytorch_model.bin`, or `pytorch_model.bin.index.json` and the shards it names |
//! | anything else | the only `.safetensors`, `.bin`, `.pt` or `.pth` file |
//! | legacy ggml | the only `.bin` file, with `.bin.1` and further parts beside it |
//! | GGUF | the only `.gguf` file, or `*-00001-of-00003.gguf` and its siblings |
//!
//! `config.json` and the tokenizer's files lie beside the weights. A path to a file means the model that the file is
//! a part of: any shard will do.

use std::fs;
use std::path::{Path, PathBuf};

use gristmill_tensor::{Error as FileError, Limits};

use crate::index::{Index, read_index};
use crate::{Error, Result};

/// The files of one model.
#[derive(Debug)]
pub(crate) struct Layout {
    /// The files with weights, in order. They need not exist.
    pub(crate) weights: Vec<PathBuf>,
    /// The index that named them, if one did.
    pub(crate) index: Option<Index>,
    /// Where `config.json` and the tokenizer's files would be.
    pub(crate) folder: PathBuf,
    /// What to call the model.
    pub(crate) name: String,
}

/// The weights of a folder in Hugging Face's layouts, the preferred first.
const KNOWN: [&str; 4] = [
    "model.safetensors.index.json",
    "model.safetensors",
    "pytorch_model.bin.index.json",
    "pytorch_model.bin",
];

/// Files that end like weights and are none.
const NOT_WEIGHTS: [&str; 6] =
    ["training_args", "optimizer", "scheduler", "rng_state", "scaler", "random_states"];

impl Layout {
    /// The model at `path`, a folder or a file.
    pub(crate) fn find(path: &Path, limits: &Limits) -> Result<Layout> {
        let metadata = fs::metadata(path).map_err(FileError::io(path))?;
        if metadata.is_dir() {
            Layout::of_folder(path, limits)
        } else {
            Layout::of_file(path, limits)
        }
    }

    fn of_folder(folder: &Path, limits: &Limits) -> Result<Layout> {
        let name = folder_name(folder);
        match KNOWN.iter().map(|name| folder.join(name)).find(|path| path.exists()) {
            Some(path) if is_index(&path) => Layout::of_index(&path, folder, name, limits),
            Some(path) => {
                Ok(Layout { weights: vec![path], index: None, folder: folder.into(), name })
            }
            None => Ok(Layout {
                weights: only_model(folder)?,
                index: None,
                folder: folder.into(),
                name,
            }),
        }
    }

    fn of_file(file: &Path, limits: &Limits) -> Result<Layout> {
        let folder = match file.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        if is_index(file) {
            return Layout::of_index(file, folder, folder_name(folder), limits);
        }
        for index in KNOWN.iter().map(|name| folder.join(name)).filter(|path| is_index(path)) {
            if index.exists() {
                let layout = Layout::of_index(&index, folder, folder_name(folder), limits)?;
                if layout.weights.iter().any(|shard| shard.file_name() == file.file_name()) {
                    return Ok(layout);
                }
            }
        }
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        let generic = ["model", "pytorch_model", "consolidated", "weights", "checkpoint"];
        let name = match generic.contains(&&*stem) {
            true => folder_name(folder),
            false => stem.into_owned(),
        };
        Ok(Layout { weights: with_siblings(file.into()), index: None, folder: folder.into(), name })
    }

    fn of_index(path: &Path, folder: &Path, name: String, limits: &Limits) -> Result<Layout> {
        let index = read_index(&read_limited(path, limits)?, &path.display().to_string())?;
        let weights = index.files.iter().map(|file| folder.join(file)).collect();
        Ok(Layout { weights, index: Some(index), folder: folder.into(), name })
    }
}

fn is_index(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(".index.json"))
}

/// A file of a split GGUF, or a part of a legacy ggml file, stands for all of them.
fn with_siblings(file: PathBuf) -> Vec<PathBuf> {
    let shards = gristmill_gguf::shard_paths(&file);
    shards.or_else(|| gristmill_ggml::part_paths(&file)).unwrap_or_else(|| vec![file])
}

/// A small file as a whole.
pub(crate) fn read_limited(path: &Path, limits: &Limits) -> Result<Vec<u8>> {
    let len = fs::metadata(path).map_err(FileError::io(path))?.len();
    Limits::check(&path.display().to_string(), "the size of the file", limits.header_bytes, len)?;
    Ok(fs::read(path).map_err(FileError::io(path))?)
}

/// The model of a folder that is laid out like no other.
fn only_model(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut models: Vec<Vec<PathBuf>> = Vec::new();
    for entry in fs::read_dir(folder).map_err(FileError::io(folder))? {
        let path = entry.map_err(FileError::io(folder))?.path();
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let is_model = ["gguf", "safetensors", "bin", "pt", "pth"].contains(&&*extension)
            && !stem.starts_with('.')
            && !NOT_WEIGHTS.iter().any(|name| stem.starts_with(name));
        if is_model {
            let files = with_siblings(path);
            if !models.contains(&files) {
                models.push(files);
            }
        }
    }
    models.sort();
    let problem = match &mut models[..] {
        [only] => return Ok(std::mem::take(only)),
        [] => format!("there is no model in this folder; looked for {}, and for any *.gguf", KNOWN.join(", ")),
        [first, ..] if is_meta_layout(&first[0]) => {
            "these are Meta's original files (consolidated.*.pth), which cannot be read yet; take the model in \
             Hugging Face's layout"
                .into()
        }
        [first, ..] if first[0].ends_with("adapter_model.safetensors") => {
            "this is an adapter for a model, not a model; merge it into its model first".into()
        }
        several if several.iter().all(|files| is_shard(&files[0])) => {
            "this is a checkpoint in several files whose index (model.safetensors.index.json or \
             pytorch_model.bin.index.json) is missing; take it from where the weights were published"
                .into()
        }
        several => {
            let names = several.iter().map(|files| files[0].file_name().unwrap_or_default().to_string_lossy());
            format!("there are several models in this folder, name one: {}", names.collect::<Vec<_>>().join(", "))
        }
    };
    Err(Error::Inputs { path: folder.into(), problems: vec![problem] })
}

fn is_shard(file: &Path) -> bool {
    file.file_name().is_some_and(|name| name.to_string_lossy().contains("-of-0"))
}

fn is_meta_layout(file: &Path) -> bool {
    file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("consolidated."))
}

/// What people would call the model in this folder.
fn folder_name(folder: &Path) -> String {
    let absolute = folder.canonicalize().unwrap_or_else(|_| folder.into());
    let name_of = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    // The cache of Hugging Face: models--org--name/snapshots/<hash>.
    let parents: Vec<String> = absolute.ancestors().skip(1).take(2).map(name_of).collect();
    match &parents[..] {
        [snapshots, repository] if snapshots == "snapshots" => match repository.rsplit_once("--") {
            Some((_, name)) => name.into(),
            None => repository.clone(),
        },
        _ => name_of(&absolute),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            fs::write(folder.path().join(file), b"").unwrap();
        }
        folder
    }

    fn names(layout: &Layout) -> Vec<String> {
        let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        layout.weights.iter().map(name).collect()
    }

    #[test]
    fn safetensors_go_before_pytorch_and_known_names_before_any() {
        let folder =
            folder(&["pytorch_model.bin", "model.safetensors", "x.gguf", "training_args.bin"]);
        let layout = Layout::find(folder.path(), &Limits::default()).unwrap();
        assert_eq!(names(&layout), ["model.safetensors"]);
    }

    #[test]
    fn the_only_weights_of_a_folder_are_its_model() {
        let folder = folder(&["optimizer.pt", "net.pth", "notes.txt"]);
        assert_eq!(names(&Layout::find(folder.path(), &Limits::default()).unwrap()), ["net.pth"]);
        fs::write(folder.path().join("a.gguf"), b"").unwrap();
        let error = Layout::find(folder.path(), &Limits::default()).unwrap_err().to_string();
        assert!(error.contains("a.gguf, net.pth"), "{error}");
    }

    #[test]
    fn any_shard_of_a_split_file_stands_for_all() {
        let folder = folder(&["m-00002-of-00003.gguf"]);
        for path in [folder.path().to_path_buf(), folder.path().join("m-00002-of-00003.gguf")] {
            let layout = Layout::find(&path, &Limits::default()).unwrap();
            let expected = [1, 2, 3].map(|number| format!("m-0000{number}-of-00003.gguf"));
            assert_eq!(names(&layout), expected);
        }
    }

    #[test]
    fn a_snapshot_in_the_cache_is_called_by_its_repository() {
        let cache = tempfile::tempdir().unwrap();
        let snapshot = cache.path().join("models--EleutherAI--gpt-j-6b/snapshots/0123abc");
        fs::create_dir_all(&snapshot).unwrap();
        assert_eq!(folder_name(&snapshot), "gpt-j-6b");
    }

    #[test]
    fn what_is_missing_is_listed() {
        let folder = folder(&[]);
        let error = Layout::find(folder.path(), &Limits::default()).unwrap_err().to_string();
        assert!(error.contains("pytorch_model.bin") && error.contains("*.gguf"), "{error}");
        let gone = folder.path().join("gone");
        assert!(matches!(
            Layout::find(&gone, &Limits::default()),
            Err(Error::File(FileError::Io { .. }))
        ));
    }
}
