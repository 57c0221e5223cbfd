//! Files made by transformers.

use std::path::{Path, PathBuf};

use crate::common::{open, read_all, write};
use gristmill_safetensors::{Reader, read_index};
use gristmill_tensor::Checkpoint;

/// The folders of the oracle set that hold safetensors; none when it is not there.
fn oracle_folders() -> Vec<PathBuf> {
    let Some(root) = gristmill_testkit::oracle("other programs' safetensors files") else {
        return Vec::new();
    };
    let list = |folder: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    let models = list(&root.join("models"));
    let variants = models.iter().filter(|path| path.is_dir()).flat_map(|path| list(path));
    let is_ours = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with("st-");
    let folders: Vec<PathBuf> = variants.filter(is_ours).collect();
    assert!(!folders.is_empty(), "GRISTMILL_ORACLE holds no safetensors files");
    folders
}

/// The model in a folder, joined by its index if it has one.
fn open_folder(folder: &Path) -> Box<dyn Checkpoint> {
    let Ok(json) = std::fs::read(folder.join("model.safetensors.index.json")) else {
        return Box::new(Reader::open(&folder.join("model.safetensors")).unwrap());
    };
    let index = read_index(&json, "model.safetensors.index.json").unwrap();
    assert!(index.files.len() > 1);
    let reader = |file: &String| Box::new(Reader::open(&folder.join(file)).unwrap()) as _;
    Box::new(index.join(index.files.iter().map(reader).collect()).unwrap())
}

#[test]
fn files_of_transformers_open_and_are_copied_whole() {
    for folder in oracle_folders() {
        let model = open_folder(&folder);
        assert!(model.tensors().len() > 10, "{}", folder.display());
        assert_eq!(model.metadata().get_str("safetensors.format").unwrap(), Some("pt"));
        read_all(&*model);

        let whole = |info: &gristmill_tensor::TensorInfo| {
            (info.clone(), model.tensor(&info.name).unwrap().bytes.to_vec())
        };
        let tensors: Vec<_> = model.tensors().iter().map(whole).collect();
        let copy = write(model.metadata(), &tensors).unwrap();
        assert_eq!(open(&copy).unwrap().tensors(), model.tensors());
        let original = folder.join("model.safetensors");
        if original.exists() {
            assert!(copy == std::fs::read(original).unwrap(), "{} differs", folder.display());
        }
    }
}
