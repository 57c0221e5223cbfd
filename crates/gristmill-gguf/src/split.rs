//! Models split over several GGUF files, `PREFIX-00001-of-00003.gguf`.
//!
//! Every shard is a complete GGUF file with its own data. The first carries the metadata of the model, and each says
//! in three `split.*` keys which one it is (from 0), how many there are, and how many tensors they hold together.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use gristmill_tensor::{Checkpoint, Error, Result, ShardedCheckpoint, keys};

use crate::FORMAT;

/// The key that counts them has 16 bits.
const MAX_SHARDS: usize = 65_535;

/// How many missing shards are listed by name.
const MAX_LISTED: usize = 8;

/// The paths of all shards of the model that `path` is one of, in order; `None` when its name is not that of a shard.
///
/// ```
/// # use std::path::Path;
/// let paths = gristmill_gguf::shard_paths(Path::new("models/llama-00002-of-00003.gguf")).unwrap();
/// assert_eq!(paths.len(), 3);
/// assert_eq!(paths[0], Path::new("models/llama-00001-of-00003.gguf"));
/// ```
pub fn shard_paths(path: &Path) -> Option<Vec<PathBuf>> {
    let stem = path.file_name()?.to_str()?.strip_suffix(".gguf")?;
    let (front, count) = stem.rsplit_once("-of-")?;
    let (prefix, number) = front.rsplit_once('-')?;
    let (number, count) = (five_digits(number)?, five_digits(count)?);
    if !(1..=count).contains(&number) {
        return None;
    }
    let name = |number| format!("{prefix}-{number:05}-of-{count:05}.gguf");
    Some((1..=count).map(|number| path.with_file_name(name(number))).collect())
}

fn five_digits(text: &str) -> Option<u32> {
    (text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())?
}

/// Joins the opened shards of one model, given in order. The `split.*` keys do not appear in the whole.
///
/// # Errors
/// [`Error::Missing`] listing the shards that are not among `parts`; [`Error::Malformed`] when a shard does not belong
/// where it stands, a tensor stands in two of them, or their tensors are not as many as promised.
pub fn join(parts: Vec<Box<dyn Checkpoint>>) -> Result<ShardedCheckpoint> {
    let Some(first) = parts.first() else { return Err(Error::missing("the model", "every shard")) };
    let name = first.name();
    if parts.len() == 1 && !first.metadata().contains(keys::SPLIT_COUNT) {
        // A whole model may be called 00001-of-00001 without having been split.
        return ShardedCheckpoint::new(name, first.metadata().clone(), parts);
    }
    let count = split_key(&**first, keys::SPLIT_COUNT)?;
    if !(1..=MAX_SHARDS).contains(&count) {
        return Err(malformed(&**first, format!("{} is {count}", keys::SPLIT_COUNT)));
    }
    let mut numbers = Vec::with_capacity(parts.len());
    for part in &parts {
        let own_count = split_key(&**part, keys::SPLIT_COUNT)?;
        if own_count != count {
            let what = format!("this is a shard of {own_count}, but {name} is one of {count}");
            return Err(malformed(&**part, what));
        }
        numbers.push(split_key(&**part, keys::SPLIT_NO)?);
    }
    if let Some(error) = missing_shards(&name, &numbers, count) {
        return Err(error);
    }
    for (position, (part, &number)) in parts.iter().zip(&numbers).enumerate() {
        if number != position {
            let what = format!(
                "its {} says that it is shard {number} (counted from 0), but it stands in the place of shard \
                 {position}; the files were renamed or belong to different models",
                keys::SPLIT_NO
            );
            return Err(malformed(&**part, what));
        }
    }

    let promised = split_key(&**first, keys::SPLIT_TENSORS_COUNT)?;
    let found: usize = parts.iter().map(|part| part.tensors().len()).sum();
    if promised != found {
        let what =
            format!("{} is {promised}, but the shards hold {found}", keys::SPLIT_TENSORS_COUNT);
        return Err(malformed(&**first, what));
    }
    let mut metadata = first.metadata().clone();
    for key in [keys::SPLIT_NO, keys::SPLIT_COUNT, keys::SPLIT_TENSORS_COUNT] {
        metadata.remove(key);
    }
    ShardedCheckpoint::new(name, metadata, parts)
}

fn split_key(part: &dyn Checkpoint, key: &str) -> Result<usize> {
    let value = part.metadata().get_usize(key)?;
    value.ok_or_else(|| {
        malformed(part, format!("a shard of a split model should have the key {key}"))
    })
}

/// Names the shards of `0..count` that are not among `numbers`, if any.
fn missing_shards(name: &str, numbers: &[usize], count: usize) -> Option<Error> {
    let present: HashSet<usize> = numbers.iter().copied().collect();
    let missing: Vec<usize> = (0..count).filter(|number| !present.contains(number)).collect();
    if missing.is_empty() {
        return None;
    }
    let paths = shard_paths(Path::new(name)).filter(|paths| paths.len() == count);
    let mut listed: Vec<String> = missing
        .iter()
        .take(MAX_LISTED)
        .map(|&number| match &paths {
            Some(paths) => paths[number].display().to_string(),
            None => format!("shard {} of {count}", number + 1),
        })
        .collect();
    if missing.len() > listed.len() {
        listed.push(format!("and {} more shards", missing.len() - listed.len()));
    }
    Some(Error::Missing {
        file: name.into(),
        what: listed.join(", "),
        hint: "; put all shards of the model into one folder".into(),
    })
}

fn malformed(part: &dyn Checkpoint, what: String) -> Error {
    Error::malformed(part.name(), FORMAT, 0, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_with_both_numbers_are_shards() {
        for name in [
            "model.gguf",
            "model-00001-of-00002.bin",
            "model-1-of-2.gguf",
            "model-00003-of-00002.gguf",
            "model-00000-of-00002.gguf",
            "model-+0001-of-00002.gguf",
            "00001-of-00002.gguf",
        ] {
            assert_eq!(shard_paths(Path::new(name)), None, "{name}");
        }
    }

    #[test]
    fn a_prefix_may_hold_anything() {
        let paths = shard_paths(Path::new("a/b-of-c-00002-of-00002.gguf")).unwrap();
        let names = ["a/b-of-c-00001-of-00002.gguf", "a/b-of-c-00002-of-00002.gguf"];
        assert_eq!(paths, names.map(PathBuf::from));
    }
}
