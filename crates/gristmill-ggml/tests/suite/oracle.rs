//! Files made by the programs that these formats belong to.

use std::path::{Path, PathBuf};

use crate::common::{open, open_as, open_path, read_all, write};
use gristmill_tensor::{Checkpoint, Container, DType, TensorInfo, keys};

/// Every legacy file of the oracle set; none when it is not there.
fn oracle_files() -> Vec<PathBuf> {
    let Some(root) = gristmill_testkit::oracle("other programs' legacy ggml files") else {
        return Vec::new();
    };
    let mut files = Vec::new();
    for folder in std::fs::read_dir(root.join("legacy")).unwrap() {
        for file in std::fs::read_dir(folder.unwrap().path()).unwrap() {
            files.push(file.unwrap().path());
        }
    }
    files.sort();
    assert!(files.len() > 50, "GRISTMILL_ORACLE holds few legacy files");
    files
}

fn file_name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

/// The architecture of a file, as its name tells.
fn architecture(name: &str) -> &'static str {
    let starts = [
        ("gptj", "gptj"),
        ("micro-gptj", "gptj"),
        ("gpt2", "gpt2"),
        ("neox", "gptneox"),
        ("mpt", "mpt"),
        ("bloom", "bloom"),
        ("llama", "llama"),
        ("micro-llama", "llama"),
    ];
    starts.into_iter().find(|(start, _)| name.starts_with(start)).unwrap().1
}

/// The container and version of the block layouts, as the first words of the file tell.
fn container(bytes: &[u8], model: &dyn Checkpoint) -> (Container, u32) {
    let version = u32::from(bytes[4]);
    let told = model.metadata().get_u32(keys::QUANTIZATION_VERSION).unwrap().unwrap_or(0);
    match &bytes[..4] {
        b"lmgg" => (Container::Ggml, told),
        b"fmgg" => (Container::Ggmf, 0),
        b"mmgg" => (Container::Ggmm, 0),
        _ => (Container::Ggjt, version - 1),
    }
}

#[test]
fn every_file_is_recognized_as_exactly_what_it_is() {
    for path in oracle_files() {
        let name = file_name(&path);
        let model = open_path(&path).unwrap();
        let arch = architecture(name);
        assert_eq!(model.metadata().get_str(keys::ARCHITECTURE).unwrap(), Some(arch), "{name}");
        assert!(model.tensors().len() > 10, "{name}");
        read_all(&*model);

        let bytes = std::fs::read(&path).unwrap();
        assert!(open_as(&bytes, Some(arch)).is_ok(), "{name}");
        for other in ["bloom", "falcon", "gpt2", "gptj", "gptneox", "llama", "mpt"] {
            assert!(other == arch || open_as(&bytes, Some(other)).is_err(), "{name} as {other}");
        }
    }
}

#[test]
fn the_types_of_a_file_are_those_of_its_name() {
    for path in oracle_files() {
        let name = file_name(&path);
        let model = open_path(&path).unwrap();
        let version = model.metadata().get_u32(keys::QUANTIZATION_VERSION).unwrap().unwrap_or(2);
        let told = [
            ("q4_0", DType::Q4_0),
            ("q4_1", DType::Q4_1),
            ("q5_0", DType::Q5_0),
            ("q5_1", DType::Q5_1),
            ("q8_0", DType::Q8_0),
        ];
        let stem = name.trim_end_matches("-ggjt.bin").trim_end_matches("-ggml.bin");
        let stem = stem.trim_end_matches(".bin");
        let is_whole = |(suffix, _): &(&str, DType)| stem.ends_with(suffix);
        let Some((_, dtype)) = told.into_iter().find(is_whole) else { continue };
        let dtype = dtype.at_version(version).unwrap();
        let all = model.tensors();
        assert!(all.iter().any(|info| info.dtype == dtype), "{name} has no {dtype}");
        let marks = [("q0-", 0), ("q43-", 0), ("q1-", 1), ("q2-", 2), ("unv-", 0), ("ggmf-", 0)];
        let marks = marks.into_iter().chain([("v1-", 0), ("v2-", 1), ("v3-", 2), ("llmrs-", 2)]);
        let mark = marks.into_iter().find(|(mark, _)| name.contains(mark)).unwrap();
        assert_eq!(version, mark.1, "{name}");
    }
}

/// What of a file is not kept when it is read and written.
enum Lost {
    Nothing,
    /// The word that begins at this byte.
    Word(usize),
    /// Bit 31 of the lengths of special tokens.
    Marks,
    /// Texts stand as UTF-8 in the file, and as bytes in the file that is written.
    Texts,
}

fn lost(name: &str, container: Container) -> Lost {
    match architecture(name) {
        // `n_mult` is one of many that give the same width.
        "llama" if container == Container::Ggml => Lost::Word(12),
        "llama" => Lost::Word(16),
        "mpt" if container == Container::Ggmm => Lost::Marks,
        "mpt" if name.contains("llmrs") => Lost::Texts,
        // The file type, which did not count the version yet.
        "mpt" if name.contains("-q1-") => Lost::Word(32),
        _ => Lost::Nothing,
    }
}

#[test]
fn files_are_written_again_byte_for_byte() {
    for path in oracle_files() {
        let name = file_name(&path);
        let mut bytes = std::fs::read(&path).unwrap();
        let model = open(&bytes).unwrap();
        let (container, version) = container(&bytes, &*model);
        let tensors: Vec<(TensorInfo, Vec<u8>)> = model
            .tensors()
            .iter()
            .map(|info| (info.clone(), model.tensor(&info.name).unwrap().bytes.to_vec()))
            .collect();
        let mut metadata = model.metadata().clone();
        // As whoever writes a LLaMA has found out by the tensors.
        if architecture(name) == "llama" {
            let up = model.find("layers.0.feed_forward.w1.weight").unwrap();
            metadata.set("llama.feed_forward_length", up.shape.rows() as u32);
        }
        let written = write(container, version, &metadata, &tensors).unwrap();
        match lost(name, container) {
            Lost::Nothing => {}
            Lost::Word(at) => bytes[at..at + 4].copy_from_slice(&written[at..at + 4]),
            Lost::Marks => {
                let pairs =
                    bytes.iter_mut().zip(&written).filter(|(old, new)| **old == **new | 0x80);
                pairs.for_each(|(old, new)| *old = *new);
            }
            Lost::Texts => {
                let again = open(&written).unwrap();
                assert!(again.metadata() == model.metadata(), "{name}");
                assert_eq!(again.tensors(), model.tensors(), "{name}");
                bytes = written.clone();
            }
        }
        let differs = written.iter().zip(&bytes).position(|(new, old)| new != old);
        assert_eq!((differs, written.len()), (None, bytes.len()), "{name}");
    }
}

#[test]
fn a_file_cut_at_any_byte_is_refused_unless_a_tensor_ends_there() {
    for path in oracle_files() {
        if !file_name(&path).starts_with("micro") {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let whole = open(&bytes).unwrap();
        // Every byte of the header and vocabulary, then some of each tensor.
        let step = bytes.len() / 997;
        for len in (0..512).chain((512..bytes.len()).step_by(step)) {
            let Ok(part) = open(&bytes[..len]) else { continue };
            // The format counts no tensors: what is missing only the architecture knows.
            let n = part.tensors().len();
            assert_eq!(part.tensors(), &whole.tensors()[..n], "{} at {len}", path.display());
            read_all(&*part);
        }
    }
}
