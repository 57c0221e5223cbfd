//! The index of a model in several files: `model.safetensors.index.json`.
//!
//! ```json
//! {"metadata": {"total_size": 81}, "weight_map": {"wte.weight": "model-00001-of-00002.safetensors"}}
//! ```
//!
//! PyTorch checkpoints have the same one (`pytorch_model.bin.index.json`), so this code serves both. File names come
//! from a file that may be hostile, and will be opened: only plain names of files beside the index pass.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use gristmill_tensor::{Checkpoint, Error, Result, ShardedCheckpoint};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};

const FORMAT: &str = "shard index";

/// Which file holds which tensor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Index {
    /// The files, each once, in the order of their names, which is that of their numbers.
    pub files: Vec<String>,
    /// Tensor name to file name.
    pub weight_map: BTreeMap<String, String>,
    name: String,
}

/// Reads the text of an index; `name` is what to call it in messages. The caller bounds its length.
///
/// # Errors
/// [`Error::Malformed`] when the text is not such an index, names a tensor twice, names no file, or names one that is
/// not a plain file name (`../x`, `/x`, `C:x`).
pub fn read_index(json: &[u8], name: &str) -> Result<Index> {
    let malformed = |what: String| Error::malformed(name, FORMAT, 0, what);
    let raw: RawIndex =
        serde_json::from_slice(json).map_err(|error| malformed(error.to_string()))?;
    let weight_map = raw.weight_map.0;
    let files: BTreeSet<&String> = weight_map.values().collect();
    if let Some(file) = files.iter().find(|file| !is_plain(file)) {
        return Err(malformed(format!("{file:?} is not the plain name of a file")));
    }
    if files.is_empty() {
        return Err(malformed("the weight map names no file".into()));
    }
    let files = files.into_iter().cloned().collect();
    Ok(Index { files, weight_map, name: name.into() })
}

/// The text of an index, as Hugging Face writes it: `total_size` is the bytes of all tensors.
pub(crate) fn write_index(total_size: u64, weight_map: &BTreeMap<&str, &str>) -> Vec<u8> {
    let index =
        serde_json::json!({ "metadata": { "total_size": total_size }, "weight_map": weight_map });
    format!("{index:#}\n").into_bytes()
}

impl Index {
    /// Joins the opened files, which stand in the order of [`files`](Self::files). Tensors that a file holds besides
    /// those of the index are part of the whole too; its metadata are those of the first file.
    ///
    /// # Errors
    /// [`Error::Missing`] when a tensor is not in the file that the index says or a file was not given;
    /// [`Error::Malformed`] when one stands in two files.
    pub fn join(&self, parts: Vec<Box<dyn Checkpoint>>) -> Result<ShardedCheckpoint> {
        if let Some(file) = self.files.get(parts.len()) {
            return Err(Error::missing(&self.name, file));
        }
        let part_of: BTreeMap<&String, &dyn Checkpoint> =
            self.files.iter().zip(parts.iter().map(|part| &**part)).collect();
        for (tensor, file) in &self.weight_map {
            let part = part_of.get(file).expect("files are those of the weight map");
            part.expect(tensor)?;
        }
        let metadata = parts.first().map(|part| part.metadata().clone()).unwrap_or_default();
        ShardedCheckpoint::new(&*self.name, metadata, parts)
    }
}

/// Whether `file` names something beside the index on every system.
fn is_plain(file: &str) -> bool {
    !file.is_empty()
        && !file.contains("..")
        && file != "."
        && !file.contains(|c: char| matches!(c, '/' | '\\' | ':') || c.is_control())
}

#[derive(Deserialize)]
struct RawIndex {
    weight_map: WeightMap,
}

/// A map that refuses a key given twice, where the usual ones keep the last.
struct WeightMap(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for WeightMap {
    fn deserialize<D: Deserializer<'de>>(
        deserializer: D,
    ) -> std::result::Result<WeightMap, D::Error> {
        struct WeightMapVisitor;
        impl<'de> Visitor<'de> for WeightMapVisitor {
            type Value = WeightMap;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensor names to file names")
            }

            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> std::result::Result<WeightMap, A::Error> {
                let mut files = BTreeMap::new();
                while let Some((tensor, file)) = map.next_entry::<String, String>()? {
                    if files.contains_key(&tensor) {
                        return Err(A::Error::custom(format!("tensor {tensor} occurs twice")));
                    }
                    files.insert(tensor, file);
                }
                Ok(WeightMap(files))
            }
        }
        deserializer.deserialize_map(WeightMapVisitor)
    }
}
