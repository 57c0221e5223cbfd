//! Models cut into several files: written, found by their index, joined again.

use std::fs;
use std::path::Path;

use gristmill_safetensors::{Safetensors, create_shards, read_index};
use gristmill_tensor::{
    Access, Checkpoint, DType, Error, Format, Metadata, ModelHeader, OpenContext, Result,
    TensorInfo, TensorSink, open_source,
};
use gristmill_torch::Torch;

/// Tensors of 6, 6, 2, 6, 2 and 2 bytes.
fn tensors() -> Vec<TensorInfo> {
    let sizes = [6, 6, 2, 6, 2, 2].into_iter().enumerate();
    sizes.map(|(i, n)| TensorInfo::new(format!("t{i}"), DType::U8, [n])).collect()
}

fn content(tensor: usize, n: u64) -> Vec<u8> {
    (0..n).map(|i| tensor as u8 * 16 + i as u8).collect()
}

fn begin(
    format: &dyn Format,
    folder: &Path,
    max_shard_bytes: u64,
    overwrite: bool,
) -> Result<Box<dyn TensorSink>> {
    let stem = if format.name() == "PyTorch" { "pytorch_model" } else { "model" };
    let header = ModelHeader { metadata: &Metadata::default(), tensors: &tensors() };
    create_shards(format, folder, stem, format.suffix(), &header, max_shard_bytes, overwrite)
}

/// Writes all tensors, the last one first and each in two slabs.
fn fill(sink: &dyn TensorSink) {
    for (tensor, info) in tensors().iter().enumerate().rev() {
        let bytes = content(tensor, info.n_bytes());
        sink.write(tensor, 1, &bytes[1..]).unwrap();
        sink.write(tensor, 0, &bytes[..1]).unwrap();
    }
}

fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn open(format: &dyn Format, path: &Path) -> Box<dyn Checkpoint> {
    format.open(open_source(path, Access::Map).unwrap(), &OpenContext::default()).unwrap()
}

fn assert_whole(model: &dyn Checkpoint) {
    assert_eq!(model.tensors().len(), tensors().len());
    for (tensor, info) in tensors().iter().enumerate() {
        assert_eq!(model.find(&info.name), Some(info));
        assert_eq!(*model.tensor(&info.name).unwrap().bytes, content(tensor, info.n_bytes()));
    }
}

#[test]
fn any_number_of_files_joins_to_the_whole() {
    for format in [&Safetensors as &dyn Format, &Torch] {
        for (max_shard_bytes, n) in [(24, 1), (22, 2), (10, 3), (8, 4), (6, 5), (5, 5), (1, 6)] {
            let folder = tempfile::tempdir().unwrap();
            let sink = begin(format, folder.path(), max_shard_bytes, false).unwrap();
            fill(&*sink);
            sink.finish().unwrap();

            let mut names = files(folder.path());
            if n == 1 {
                assert_eq!(names.len(), 1);
                assert_whole(&*open(format, &folder.path().join(&names[0])));
                continue;
            }
            let index = names.remove(names.iter().position(|n| n.ends_with(".json")).unwrap());
            let json = fs::read(folder.path().join(&index)).unwrap();
            let index = read_index(&json, &index).unwrap();
            assert_eq!(index.files, names);
            assert_eq!(names.len(), n, "{max_shard_bytes}");
            let parts = names.iter().map(|name| open(format, &folder.path().join(name)));
            assert_whole(&index.join(parts.collect()).unwrap());
        }
    }
}

#[test]
fn files_and_index_are_called_as_hugging_face_calls_them() {
    let folder = tempfile::tempdir().unwrap();
    for (format, expected) in [
        (&Safetensors as &dyn Format, ["model-00001-of-00003.safetensors", "model.safetensors"]),
        (&Torch, ["pytorch_model-00001-of-00003.bin", "pytorch_model.bin"]),
    ] {
        let sink = begin(format, folder.path(), 10, false).unwrap();
        fill(&*sink);
        sink.finish().unwrap();
        assert!(files(folder.path()).contains(&expected[0].into()));
        assert!(files(folder.path()).contains(&format!("{}.index.json", expected[1])));
    }
    let index = fs::read_to_string(folder.path().join("model.safetensors.index.json")).unwrap();
    let expected = r#"{
  "metadata": {
    "total_size": 24
  },
  "weight_map": {
    "t0": "model-00001-of-00003.safetensors",
    "t1": "model-00002-of-00003.safetensors",
    "t2": "model-00002-of-00003.safetensors",
    "t3": "model-00003-of-00003.safetensors",
    "t4": "model-00003-of-00003.safetensors",
    "t5": "model-00003-of-00003.safetensors"
  }
}
"#;
    assert_eq!(index, expected);
}

#[test]
fn nothing_appears_before_the_end_and_nothing_is_left_of_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let visible = || files(folder.path()).into_iter().filter(|name| !name.starts_with('.')).count();
    let sink = begin(&Safetensors, folder.path(), 10, false).unwrap();
    fill(&*sink);
    assert_eq!(visible(), 0);
    drop(sink);
    assert_eq!(files(folder.path()), [""; 0]);

    // The first file is complete, the last is not.
    let sink = begin(&Safetensors, folder.path(), 10, false).unwrap();
    sink.write(0, 0, &content(0, 6)).unwrap();
    assert!(matches!(sink.finish(), Err(Error::Missing { .. })));
    assert_eq!(files(folder.path()), [""; 0]);

    // The format refuses the second file.
    let mut tensors = tensors();
    tensors.push(TensorInfo::new("q", DType::Q4_0, [32]));
    let header = ModelHeader { metadata: &Metadata::default(), tensors: &tensors };
    let error = create_shards(&Torch, folder.path(), "m", "bin", &header, 24, false).err().unwrap();
    assert!(error.to_string().contains("tensor q is Q4_0"), "{error}");
    assert_eq!(files(folder.path()), [""; 0]);

    // A file of the model came to be meanwhile.
    let sink = begin(&Safetensors, folder.path(), 10, false).unwrap();
    fill(&*sink);
    let name = "model-00002-of-00003.safetensors";
    fs::write(folder.path().join(name), "mine").unwrap();
    assert!(matches!(sink.finish(), Err(Error::Exists { .. })));
    assert_eq!(files(folder.path()), [name]);
    assert_eq!(fs::read(folder.path().join(name)).unwrap(), b"mine");
}

#[test]
fn names_that_occur_twice_are_refused_also_in_different_files() {
    let folder = tempfile::tempdir().unwrap();
    let twice = [TensorInfo::new("a", DType::U8, [8]), TensorInfo::new("a", DType::U8, [8])];
    let header = ModelHeader { metadata: &Metadata::default(), tensors: &twice };
    let refused = create_shards(&Safetensors, folder.path(), "m", "safetensors", &header, 8, false);
    assert!(refused.err().unwrap().to_string().contains("tensor a occurs twice"));
    assert_eq!(files(folder.path()), [""; 0]);
}

#[test]
fn a_model_is_replaced_only_when_that_is_wanted_and_then_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let write = |max_shard_bytes, overwrite| {
        let sink = begin(&Safetensors, folder.path(), max_shard_bytes, overwrite)?;
        fill(&*sink);
        sink.finish()
    };
    let cut = [
        "model-00001-of-00003.safetensors",
        "model-00002-of-00003.safetensors",
        "model-00003-of-00003.safetensors",
        "model.safetensors.index.json",
    ];
    write(24, false).unwrap();
    assert!(matches!(write(10, false), Err(Error::Exists { .. })));
    assert_eq!(files(folder.path()), ["model.safetensors"]);

    // The plain file would be loaded in place of the others.
    write(10, true).unwrap();
    assert_eq!(files(folder.path()), cut);
    write(10, true).unwrap();
    assert_eq!(files(folder.path()), cut);
    assert!(matches!(write(24, false), Err(Error::Exists { .. })));

    // So would the index. Files that it no longer names stay.
    write(24, true).unwrap();
    assert_eq!(files(folder.path()), [&cut[..3], &["model.safetensors"]].concat());
    assert_whole(&*open(&Safetensors, &folder.path().join("model.safetensors")));
}

#[test]
fn a_folder_that_is_not_there_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let error = begin(&Safetensors, &folder.path().join("absent"), 10, false).err().unwrap();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    assert_eq!(files(folder.path()), [""; 0]);
}
