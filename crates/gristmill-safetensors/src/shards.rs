//! Writing a model as several files and their index, as Hugging Face cuts it.
//!
//! ```text
//! model-00001-of-00002.safetensors  model-00002-of-00002.safetensors  model.safetensors.index.json
//! ```
//!
//! A model that fits into one file is just `model.safetensors`. Any [`Format`] can be the format of the files, so
//! this serves PyTorch checkpoints as well.
//!
//! Several files cannot appear at once. They are written into a hidden folder beside their places, where every one is
//! completed, and only then renamed one after another. The index comes last, and one that is to be replaced goes
//! first, so that an index never names a file that is not its own. Source:
//! `huggingface_hub/serialization/_base.py`, `split_state_dict_into_shards_factory`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use gristmill_tensor::{AtomicFile, Error, Format, ModelHeader, Result, TensorInfo, TensorSink};

use crate::index::write_index;

/// Begins a model in `folder`, which must be there, in files of at most `max_shard_bytes` of tensors each. A larger
/// tensor gets a file of its own. Names begin with `stem` and end with `suffix`: `"model"` and `"safetensors"`, or
/// `"pytorch_model"` and `"bin"`. Every file is given the metadata of the whole. Slabs are addressed as in the file
/// that is not cut.
///
/// The files appear when the sink is finished; nothing is left of a sink that is dropped or fails. With `overwrite`,
/// a model of these names in the folder is replaced, also when that one was cut and this one is not, or the other way
/// around: whichever of the plain file and the index is no longer wanted is removed, for programs would load it.
///
/// # Errors
/// [`Error::Exists`] when one of the files is there and `overwrite` is false; [`Error::Unsupported`] when two tensors
/// have the same name, and whatever `format` refuses; [`Error::Io`].
pub fn create_shards(
    format: &dyn Format,
    folder: &Path,
    stem: &str,
    suffix: &str,
    header: &ModelHeader<'_>,
    max_shard_bytes: u64,
    overwrite: bool,
) -> Result<Box<dyn TensorSink>> {
    let shards = assign(header.tensors, max_shard_bytes);
    let names = Names::new(stem, suffix, shards.len());
    let index = index(header.tensors, &shards, &names.files)
        .map_err(|what| Error::unsupported(folder.display().to_string(), format.name(), what))?;
    let staging = Staging::create(folder, stem, names, overwrite)?;

    let mut places = vec![(0, 0); header.tensors.len()];
    let mut parts = Vec::with_capacity(shards.len());
    for (shard, (members, file)) in shards.iter().zip(&staging.names.files).enumerate() {
        for (position, &tensor) in members.iter().enumerate() {
            places[tensor] = (shard, position);
        }
        let tensors: Vec<TensorInfo> =
            members.iter().map(|&tensor| header.tensors[tensor].clone()).collect();
        let part = ModelHeader { metadata: header.metadata, tensors: &tensors };
        parts.push(format.create(AtomicFile::create(staging.path.join(file), false)?, &part)?);
    }
    Ok(Box::new(ShardedSink { parts, places, index, staging }))
}

/// Which tensors each file holds, by their positions. A tensor that is larger than a file may be stands alone, before
/// the file that is being filled; another that does not fit any more begins the next file.
fn assign(tensors: &[TensorInfo], max_shard_bytes: u64) -> Vec<Vec<usize>> {
    let mut shards = Vec::new();
    let mut current = Vec::new();
    let mut used = 0u64;
    for (position, info) in tensors.iter().enumerate() {
        // What cannot be counted is refused by the format, in words of its own.
        let n = info.checked_bytes().unwrap_or(u64::MAX);
        if n > max_shard_bytes {
            shards.push(vec![position]);
            continue;
        }
        if n > max_shard_bytes - used {
            shards.push(std::mem::take(&mut current));
            used = 0;
        }
        current.push(position);
        used += n;
    }
    // A model without tensors is a file too.
    if !current.is_empty() || shards.is_empty() {
        shards.push(current);
    }
    shards
}

/// The text of the index; empty when there is one file, which needs none. The error names a tensor that occurs twice.
fn index(
    tensors: &[TensorInfo],
    shards: &[Vec<usize>],
    files: &[String],
) -> std::result::Result<Vec<u8>, String> {
    let mut weight_map = BTreeMap::new();
    let mut total = 0u64;
    for (members, file) in shards.iter().zip(files) {
        for info in members.iter().map(|&tensor| &tensors[tensor]) {
            if weight_map.insert(info.name.as_str(), file.as_str()).is_some() {
                return Err(format!("tensor {} occurs twice", info.name));
            }
            total = total.saturating_add(info.checked_bytes().unwrap_or(u64::MAX));
        }
    }
    Ok(if files.len() > 1 { write_index(total, &weight_map) } else { Vec::new() })
}

/// What the files of a model are called.
struct Names {
    /// Those that hold tensors.
    files: Vec<String>,
    /// The only one of a model that is not cut.
    plain: String,
    index: String,
}

impl Names {
    fn new(stem: &str, suffix: &str, n: usize) -> Names {
        let plain = format!("{stem}.{suffix}");
        let file = |number| format!("{stem}-{number:05}-of-{n:05}.{suffix}");
        let files = if n == 1 { vec![plain.clone()] } else { (1..=n).map(file).collect() };
        Names { files, index: format!("{plain}.index.json"), plain }
    }

    /// The file by which programs would find a model that is cut in the other way.
    fn other_way(&self) -> &str {
        if self.files.len() > 1 { &self.plain } else { &self.index }
    }
}

/// A model being written.
struct ShardedSink {
    // These are dropped before the folder they are in.
    parts: Vec<Box<dyn TensorSink>>,
    /// For each tensor its file and its position there.
    places: Vec<(usize, usize)>,
    index: Vec<u8>,
    staging: Staging,
}

impl TensorSink for ShardedSink {
    fn write(&self, tensor: usize, offset: u64, slab: &[u8]) -> Result<()> {
        let (part, position) = self.places[tensor];
        self.parts[part].write(position, offset, slab)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        let ShardedSink { parts, index, staging, .. } = *self;
        for part in parts {
            part.finish()?;
        }
        if !index.is_empty() {
            let file = AtomicFile::create(staging.path.join(&staging.names.index), false)?;
            file.write_at(0, &index)?;
            file.finish()?;
        }
        staging.publish()
    }
}

/// The hidden folder in which files are completed. Dropped, it is removed.
struct Staging {
    path: PathBuf,
    /// The folder in which they shall appear.
    target: PathBuf,
    names: Names,
    overwrite: bool,
}

impl Staging {
    fn create(target: &Path, stem: &str, names: Names, overwrite: bool) -> Result<Staging> {
        let path = target.join(format!(".{stem}.{}.partial", std::process::id()));
        let staging = Staging { path, target: target.into(), names, overwrite };
        staging.refuse_existing()?;
        // Not `create_dir_all`: the model would appear where nobody looks for it.
        match fs::create_dir(&staging.path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(Error::io(target)(error))
            }
            _ => Ok(staging),
        }
    }

    fn refuse_existing(&self) -> Result<()> {
        let Names { files, plain, index } = &self.names;
        for path in files.iter().chain([plain, index]).map(|name| self.target.join(name)) {
            if path.is_dir() {
                return Err(Error::io(path)(io::ErrorKind::IsADirectory.into()));
            }
            if !self.overwrite && path.exists() {
                return Err(Error::Exists { path });
            }
        }
        Ok(())
    }

    /// Gives all files their names.
    fn publish(self) -> Result<()> {
        self.refuse_existing()?;
        if self.names.files.len() > 1 {
            remove(&self.target.join(&self.names.index))?;
        }
        let mut published = Vec::new();
        let index = (self.names.files.len() > 1).then_some(&self.names.index);
        for name in self.names.files.iter().chain(index) {
            let to = self.target.join(name);
            if let Err(error) = fs::rename(self.path.join(name), &to) {
                // Some files without the others are of no use; that this fails too changes nothing.
                published.iter().for_each(|path| drop(fs::remove_file(path)));
                return Err(Error::io(to)(error));
            }
            published.push(to);
        }
        remove(&self.target.join(self.names.other_way()))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Nothing can be done, nor need be, when it cannot be removed.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes a file, if it is there.
fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io(path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use gristmill_tensor::DType;

    use super::*;

    fn cut(sizes: &[usize], max: u64) -> Vec<Vec<usize>> {
        let info = |(i, &n): (usize, &usize)| TensorInfo::new(format!("t{i}"), DType::U8, [n]);
        let tensors: Vec<TensorInfo> = sizes.iter().enumerate().map(info).collect();
        assign(&tensors, max)
    }

    #[test]
    fn tensors_are_cut_as_hugging_face_cuts_them() {
        // What their function gives for these sizes; the first is the example of its documentation.
        assert_eq!(cut(&[6, 6, 2, 6, 2, 2], 10), [vec![0], vec![1, 2], vec![3, 4, 5]]);
        assert_eq!(cut(&[5, 5, 1], 10), [vec![0, 1], vec![2]]);
        assert_eq!(cut(&[1, 11, 1, 12], 10), [vec![1], vec![3], vec![0, 2]]);
        assert_eq!(cut(&[6, 6, 2, 6, 2, 2], 5), [vec![0], vec![1], vec![3], vec![2, 4], vec![5]]);
        assert_eq!(cut(&[0, 0], 0), [vec![0, 1]]);
        assert_eq!(cut(&[], 10), [Vec::<usize>::new()]);
    }
}
