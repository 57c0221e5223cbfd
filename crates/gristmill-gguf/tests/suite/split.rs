//! Models in several files.

use std::path::Path;

use crate::common::write_to;
use gristmill_gguf::{Reader, join, shard_paths};
use gristmill_tensor::{Checkpoint, DType, Error, Metadata, TensorInfo};

/// Writes shard `number` of `count`, which holds one tensor `t{number}` of one byte.
fn write_shard(folder: &Path, number: u16, count: u16) {
    let mut metadata = Metadata::default();
    if number == 0 {
        metadata.set("general.architecture", "llama");
    }
    metadata.set("split.no", number);
    metadata.set("split.count", count);
    metadata.set("split.tensors.count", i32::from(count));
    let info = TensorInfo::new(format!("t{number}"), DType::I8, [1]);
    let path = folder.join(format!("model-{:05}-of-{count:05}.gguf", number + 1));
    write_to(&path, &metadata, &[(info, vec![number as u8])]).unwrap();
}

fn open_all(paths: &[impl AsRef<Path>]) -> Vec<Box<dyn Checkpoint>> {
    paths.iter().map(|path| Box::new(Reader::open(path.as_ref()).unwrap()) as _).collect()
}

#[test]
fn any_shard_leads_to_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    (0..3).for_each(|number| write_shard(folder.path(), number, 3));
    let paths = shard_paths(&folder.path().join("model-00002-of-00003.gguf")).unwrap();
    let model = join(open_all(&paths)).unwrap();
    assert_eq!(
        model.tensors().iter().map(|info| &*info.name).collect::<Vec<_>>(),
        ["t0", "t1", "t2"]
    );
    assert_eq!(*model.read("t2", 0..1).unwrap(), [2]);
    let keys: Vec<&str> = model.metadata().iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["general.architecture"]);
}

#[test]
fn missing_shards_are_listed_by_name() {
    let folder = tempfile::tempdir().unwrap();
    write_shard(folder.path(), 1, 4);
    let paths = shard_paths(&folder.path().join("model-00002-of-00004.gguf")).unwrap();
    let error = join(open_all(&paths[1..2])).err().unwrap();
    assert!(matches!(error, Error::Missing { .. }));
    let message = error.to_string();
    for (position, path) in paths.iter().enumerate() {
        let listed =
            message.split(" is missing").next().unwrap().contains(&format!(" {}", path.display()));
        assert_eq!(listed, position != 1, "{message}");
    }
}

#[test]
fn shards_in_the_wrong_place_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    (0..2).for_each(|number| write_shard(folder.path(), number, 2));
    let mut paths = shard_paths(&folder.path().join("model-00001-of-00002.gguf")).unwrap();
    paths.reverse();
    assert!(join(open_all(&paths)).err().unwrap().to_string().contains("in the place of shard 0"));
}

#[test]
fn shards_of_different_models_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    write_shard(folder.path(), 0, 2);
    write_shard(folder.path(), 1, 3);
    let paths = ["model-00001-of-00002.gguf", "model-00002-of-00003.gguf"]
        .map(|name| folder.path().join(name));
    assert!(join(open_all(&paths)).err().unwrap().to_string().contains("a shard of 3"));
}

#[test]
fn the_shards_hold_as_many_tensors_as_promised() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model-00001-of-00001.gguf");
    for promised in [1, 2, -1] {
        let mut metadata = Metadata::default();
        metadata.set("split.no", 0u16);
        metadata.set("split.count", 1u16);
        metadata.set("split.tensors.count", promised);
        let info = TensorInfo::new("t", DType::I8, [1]);
        let written = write_to(&path, &metadata, &[(info, vec![0])]);
        let joined = written.and_then(|()| join(open_all(&[&path])).map(drop));
        assert_eq!(joined.is_ok(), promised == 1, "{promised}");
    }
}

#[test]
fn a_count_that_lies_does_not_list_millions_of_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    for (count, words) in [
        (u32::MAX, "split.count is 4294967295"),
        (0, "split.count is 0"),
        (60_000, "and 59991 more"),
    ] {
        let mut metadata = Metadata::default();
        metadata.set("split.no", 0u32);
        metadata.set("split.count", count);
        metadata.set("split.tensors.count", 0u32);
        write_to(&path, &metadata, &[]).unwrap();
        let message = join(open_all(&[&path])).err().unwrap().to_string();
        assert!(message.contains(words) && message.len() < 1000, "{message}");
    }
}

#[test]
fn a_model_in_one_file_need_not_say_that_it_is_a_shard() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model-00001-of-00001.gguf");
    write_to(&path, &Metadata::default(), &[]).unwrap();
    assert!(join(open_all(&[&path])).is_ok());
    assert!(join(Vec::new()).is_err());
}
