//! Storages: the buffers that tensors are views of, as a pickle describes them.
//!
//! A pickle refers to a storage by a persistent id, `("storage", class, key, location, numel[, view])`. The key names
//! the buffer within the file; the location is the device it came from, which is of no interest; the view is `None`
//! or, in old streams, says that only a part of the buffer is meant.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::as_conversions)]

use std::collections::HashMap;

use crate::names;
use crate::plain::Plain;

/// A buffer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Storage {
    /// Names the storage within its file.
    pub(crate) key: String,
    /// The class, which tells the type of the elements; always one that [`names::storage_width`] knows.
    pub(crate) class: String,
    /// The number of elements; of bytes, if the storage is untyped.
    pub(crate) numel: u64,
}

/// A part of a buffer, in elements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Window {
    pub(crate) start: u64,
    pub(crate) len: u64,
}

impl Storage {
    /// Bytes of an element.
    pub(crate) fn width(&self) -> u64 {
        names::storage_width(&self.class).expect("parse takes only classes with a width")
    }

    /// Bytes in all; `None` on overflow.
    pub(crate) fn n_bytes(&self) -> Option<u64> {
        self.numel.checked_mul(self.width())
    }
}

/// Reads a persistent id. The error completes the sentence "its storage …".
pub(crate) fn parse(id: &[Plain]) -> Result<(Storage, Window), String> {
    let (class, key, numel, view) = match id {
        [Plain::Text(kind), Plain::Global(class), Plain::Text(key), _, numel, view @ ..]
            if kind == "storage" && view.len() <= 1 =>
        {
            (class, key, numel, view.first())
        }
        _ => return Err("is not described as torch does".into()),
    };
    if names::storage_width(class).is_none() {
        return Err(format!("is of class {class}, which is none"));
    }
    let numel = unsigned(numel).ok_or("has no number of elements")?;
    let storage = Storage { key: key.clone(), class: class.clone(), numel };
    let window = match view {
        None | Some(Plain::None) => Window { start: 0, len: numel },
        Some(Plain::Seq(view)) => {
            window(view).ok_or("is a part of another, but not as torch writes it")?
        }
        Some(_) => return Err("is not described as torch does".into()),
    };
    match window.start.checked_add(window.len) {
        Some(end) if end <= numel => Ok((storage, window)),
        _ => Err("is a part of another, past its end".into()),
    }
}

/// Reads a view, `(key, start, len)`.
fn window(view: &[Plain]) -> Option<Window> {
    match view {
        [_, start, len] => Some(Window { start: unsigned(start)?, len: unsigned(len)? }),
        _ => None,
    }
}

/// Every storage that is referred to anywhere below `root`, by its key. The error is a whole sentence.
pub(crate) fn collect(root: &Plain) -> Result<HashMap<String, Storage>, String> {
    let mut storages = HashMap::new();
    let mut left = vec![root];
    while let Some(value) = left.pop() {
        match value {
            Plain::Seq(items) => left.extend(items),
            Plain::Dict(entries) => left.extend(entries.iter().flat_map(|(k, v)| [k, v])),
            Plain::Call(callable, args) => {
                left.push(callable);
                left.extend(args);
            }
            Plain::Storage(id) => {
                let (storage, _) = parse(id).map_err(|error| format!("a storage {error}"))?;
                let key = storage.key.clone();
                if storages.get(&key).is_some_and(|known| *known != storage) {
                    return Err(format!("storage {key:?} is described differently in two places"));
                }
                storages.insert(key, storage);
            }
            _ => {}
        }
    }
    Ok(storages)
}

/// A number from 0 up.
pub(crate) fn unsigned(value: &Plain) -> Option<u64> {
    match value {
        Plain::Int(value) => u64::try_from(*value).ok(),
        _ => None,
    }
}
