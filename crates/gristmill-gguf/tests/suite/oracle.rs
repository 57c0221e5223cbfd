//! Files made by llama.cpp's own tools.

use std::path::{Path, PathBuf};

use crate::common::{read_all, write};
use gristmill_gguf::Reader;
use gristmill_tensor::Checkpoint;

/// Every GGUF file of the oracle set; none when it is not there.
fn oracle_files() -> Vec<PathBuf> {
    let Some(root) = gristmill_testkit::oracle("other programs' GGUF files") else {
        return Vec::new();
    };
    let mut files = Vec::new();
    collect(&root.join("gguf"), &mut files);
    assert!(!files.is_empty(), "GRISTMILL_ORACLE holds no gguf files");
    files
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "gguf") {
            files.push(path);
        }
    }
}

#[test]
fn files_of_llama_cpp_open() {
    for path in oracle_files() {
        let model = Reader::open(&path).unwrap();
        assert!(model.metadata().get_str("general.architecture").unwrap().is_some());
        assert!(model.tensors().len() > 10, "{}", path.display());
        read_all(&model);
    }
}

#[test]
fn files_of_llama_cpp_are_written_again_byte_for_byte() {
    for path in oracle_files() {
        let model = Reader::open(&path).unwrap();
        let tensors: Vec<_> = model
            .tensors()
            .iter()
            .map(|info| (info.clone(), model.tensor(&info.name).unwrap().bytes.to_vec()))
            .collect();
        let written = write(model.metadata(), &tensors).unwrap();
        assert!(written == std::fs::read(&path).unwrap(), "{} differs", path.display());
    }
}
