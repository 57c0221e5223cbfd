//! The stream of torch before 1.6, still written when `_use_new_zipfile_serialization=False`.
//!
//! ```text
//! pickle   0x1950a86a20f9469cfc6c, the magic number
//! pickle   1001, the version
//! pickle   {"protocol_version": 1001, "little_endian": True, "type_sizes": {…}}
//! pickle   the object
//! pickle   the keys of the storages
//! for each key:  i64 number of elements, then the elements
//! ```
//!
//! Nothing says where a pickle ends but the pickle itself, and nothing says how wide a storage's elements are but
//! the object. The file ends with the last storage.
//!
//! `little_endian` tells what machine wrote the file, which need not be how: torch on a big-endian machine turns the
//! counts and the elements around before it writes them (`THPStorage_writeFileRaw`). So with `False` the counts,
//! which must agree with the object's, decide about the elements as well.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::as_conversions)]

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use gristmill_tensor::{ByteSource, Checkpoint, Cursor, Endian, Error, OpenContext, Result};

use crate::checkpoint::{Slice, TorchCheckpoint};
use crate::plain::{self, Plain};
use crate::{FORMAT, rebuild, storage};

/// 0x1950a86a20f9469cfc6c, least significant byte first.
const MAGIC: &[u8] = b"\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";

/// The only version there ever was.
const VERSION: i64 = 1001;

/// How many pickles stand before the storages.
pub(crate) const N_PICKLES: usize = 5;

/// Whether a file that begins with `head` is one of these: `PROTO`, in newer protocols `FRAME`, and the magic number
/// as a `LONG1`.
pub(crate) fn detect(head: &[u8]) -> bool {
    let Some((&[0x80, protocol], rest)) = head.split_first_chunk::<2>() else { return false };
    let rest = match rest.split_first_chunk::<9>() {
        Some((&[0x95, ..], rest)) if protocol >= 4 => rest,
        _ => rest,
    };
    rest.strip_prefix(b"\x8a\x0a").is_some_and(|number| number.starts_with(MAGIC))
}

/// Opens a legacy checkpoint.
pub(crate) fn open(
    source: Arc<dyn ByteSource>,
    context: &OpenContext,
) -> Result<Box<dyn Checkpoint>> {
    let file = source.name();
    let mut cursor = Cursor::new(&*source, FORMAT);
    let next = |cursor: &mut Cursor<'_>| plain::read(cursor, &file, &context.limits);

    if next(&mut cursor)? != Plain::Blob(MAGIC.into()) {
        return Err(
            cursor.malformed_at(0, "a pickle, but not a checkpoint: the magic number is wrong")
        );
    }
    let version = next(&mut cursor)?;
    if version != Plain::Int(VERSION) {
        let what = format!("version {version:?} of the stream is not known");
        return Err(Error::unsupported(file, FORMAT, what));
    }
    let endian = endian(&next(&mut cursor)?).ok_or_else(|| {
        cursor.malformed(
            "the description of the system that wrote the file is not as torch writes it",
        )
    })?;
    let root = next(&mut cursor)?;
    let keys = next(&mut cursor)?;

    let state = rebuild::rebuild(&root, &file, &context.limits)?;
    let (mut places, endian) = storages(&mut cursor, &root, &keys, endian)?;
    let slices = state.storages.iter().map(|storage| places.remove(&storage.key).unwrap_or(0..0));
    let slices = slices
        .into_iter()
        .map(|range| -> Arc<dyn ByteSource> { Arc::new(Slice::new(&source, range)) });
    let slices = slices.collect();
    Ok(Box::new(TorchCheckpoint::new("PyTorch legacy stream", &*source, state, slices, endian)?))
}

/// The byte order of the system that wrote the file; `None` if that is not told as torch tells it.
fn endian(sys_info: &Plain) -> Option<Endian> {
    let Plain::Dict(entries) = sys_info else { return None };
    let key = Plain::Text("little_endian".into());
    match entries.iter().find(|(k, _)| *k == key) {
        Some((_, Plain::Bool(true))) => Some(Endian::Little),
        Some((_, Plain::Bool(false))) => Some(Endian::Big),
        _ => None,
    }
}

/// Walks the storages behind the pickles and gives the place of each by its key, and their byte order.
fn storages(
    cursor: &mut Cursor<'_>,
    root: &Plain,
    keys: &Plain,
    machine: Endian,
) -> Result<(HashMap<String, Range<u64>>, Endian)> {
    let Plain::Seq(keys) = keys else {
        return Err(cursor.malformed("the keys of the storages are not a list"));
    };
    // Those of an optimizer, which no tensor of ours views, too: their sizes must be known to get past them.
    let mut left = storage::collect(root).map_err(|error| cursor.malformed(error))?;
    let mut places = HashMap::with_capacity(left.len());
    let mut decided = None;
    for key in keys {
        let Plain::Text(key) = key else {
            return Err(cursor.malformed("the key of a storage is not a text"));
        };
        let Some(storage) = left.remove(key) else {
            let what =
                format!("storage {key:?} occurs twice, or nothing refers to it and says its size");
            return Err(cursor.malformed(what));
        };
        let start = cursor.position();
        let count = cursor.u64()?;
        let orders = [(Endian::Little, count), (Endian::Big, count.swap_bytes())];
        let fits = |&&(order, numel): &&(Endian, u64)| {
            numel == storage.numel && (order == Endian::Little || machine == Endian::Big)
        };
        // A count that reads the same both ways, such as 0, says nothing.
        match orders.iter().find(fits) {
            Some(&(order, _))
                if count != count.swap_bytes() && *decided.get_or_insert(order) != order =>
            {
                return Err(
                    cursor.malformed_at(start, "the counts of the storages disagree in byte order")
                );
            }
            Some(_) => {}
            None => {
                let what =
                    format!("storage {key:?} has {count} elements instead of {}", storage.numel);
                return Err(cursor.malformed_at(start, what));
            }
        }
        let n_bytes = storage.n_bytes().unwrap_or(u64::MAX);
        let place = cursor.position()..cursor.position().saturating_add(n_bytes);
        if n_bytes > cursor.remaining() {
            return Err(cursor.malformed(format!(
                "storage {key:?} needs {n_bytes} bytes but only {} are left; the file is cut short",
                cursor.remaining()
            )));
        }
        cursor.seek(place.end);
        places.insert(key.clone(), place);
    }
    if let Some(key) = left.keys().next() {
        return Err(cursor.malformed(format!("storage {key:?} is not in the file")));
    }
    if cursor.remaining() > 0 {
        return Err(cursor.malformed(format!(
            "{} bytes are left over after the last storage; the file is damaged",
            cursor.remaining()
        )));
    }
    Ok((places, decided.unwrap_or(machine)))
}
