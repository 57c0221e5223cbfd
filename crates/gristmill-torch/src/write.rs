//! Writing the zip container.
//!
//! ```text
//! model/data.pkl     the pickle
//! model/byteorder    "little"
//! model/data/0       a storage for each tensor
//! model/version      "3"
//! ```
//!
//! The places of all members are known before the first slab. A zip archive also holds the checksum of each member,
//! in front of it and in the directory. Slabs come in any order, so the checksum of each is kept and they are put
//! together at the end: the checksum of a whole follows from those of its parts and their lengths.

mod pickle;
mod zip;

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crc32fast::Hasher;
use gristmill_tensor::{
    AtomicFile, Error, FileSink, Limits, ModelHeader, Result, TensorInfo, TensorSink,
};

use self::zip::Layout;
use crate::FORMAT;

/// How many members stand before the storages.
const FIRST_STORAGE: usize = 2;

/// The order of the bytes in storages.
const BYTE_ORDER: &[u8] = b"little";

/// The version of the container, as torch has written it since 1.6.
const VERSION: &[u8] = b"3\n";

/// What torch calls an archive that has no file name.
const UNNAMED: &str = "archive";

/// Begins a checkpoint and reserves the place of every tensor.
pub(crate) fn create(file: AtomicFile, header: &ModelHeader<'_>) -> Result<TorchSink> {
    let tensors = header.tensors;
    let plan = check(tensors).and_then(|()| {
        let pickle = pickle::state_dict(tensors)?;
        let layout = layout(&folder(file.target()), &pickle, tensors)
            .ok_or("the tensors together are larger than any file")?;
        Ok((pickle, layout))
    });
    let refused = |what| Error::unsupported(file.target().display().to_string(), FORMAT, what);
    let (pickle, layout) = plan.map_err(refused)?;
    let storages = layout.members.iter().skip(FIRST_STORAGE).map(|member| member.start);
    let file = FileSink::create(file, layout.end, &[], tensors.iter().zip(storages))?;
    let names = tensors.iter().map(|info| info.name.clone()).collect();
    Ok(TorchSink { file: Box::new(file), layout, pickle, names, slabs: Mutex::default() })
}

/// Refuses tensors that a reader would not take.
fn check(tensors: &[TensorInfo]) -> std::result::Result<(), String> {
    let limits = Limits::default();
    let mut names = HashSet::new();
    for info in tensors {
        let (name, rank) = (&info.name, info.shape.rank());
        if !names.insert(name) {
            return Err(format!("tensor {name} occurs twice"));
        }
        if name.len() as u64 > limits.name_bytes {
            let (n, limit) = (name.len(), limits.name_bytes);
            return Err(format!("tensor {name} has a name of {n} bytes; at most {limit} are read"));
        }
        if rank as u64 > limits.rank {
            let limit = limits.rank;
            return Err(format!("tensor {name} has {rank} dimensions; at most {limit} are read"));
        }
    }
    Ok(())
}

/// The folder inside the archive: the name of the file without its suffix, as in torch's own files.
fn folder(target: &Path) -> String {
    let stem = target.file_stem().map(|stem| stem.to_string_lossy()).unwrap_or_default();
    // A backslash or two dots would be a path on some system, and readers refuse those.
    let is_plain = !stem.is_empty() && stem != ".." && !stem.contains(['\\', '\0']);
    if is_plain { stem.into_owned() } else { UNNAMED.into() }
}

/// Places every member; `None` when the end is past any file. Tensors have been checked.
fn layout(folder: &str, pickle: &[u8], tensors: &[TensorInfo]) -> Option<Layout> {
    let mut layout = Layout::default();
    let mut add = |name: &str, len| layout.add(format!("{folder}/{name}"), len);
    add("data.pkl", pickle.len() as u64)?;
    add("byteorder", BYTE_ORDER.len() as u64)?;
    for (number, info) in tensors.iter().enumerate() {
        add(&format!("data/{number}"), info.checked_bytes()?)?;
    }
    add("version", VERSION.len() as u64)?;
    Some(layout)
}

/// A checkpoint being written.
pub(crate) struct TorchSink {
    file: Box<FileSink>,
    layout: Layout,
    pickle: Vec<u8>,
    /// The tensors' names, for messages.
    names: Vec<String>,
    /// What has arrived.
    slabs: Mutex<Vec<Slab>>,
}

/// A part of a tensor that has been written.
struct Slab {
    tensor: usize,
    offset: u64,
    checksum: Hasher,
}

impl TorchSink {
    /// The checksum of each tensor. Where bytes are missing it means nothing.
    fn checksums(&self) -> Vec<u32> {
        let mut slabs = self.slabs.lock().unwrap_or_else(PoisonError::into_inner);
        slabs.sort_by_key(|slab| (slab.tensor, slab.offset));
        let mut wholes = vec![Hasher::new(); self.names.len()];
        for Slab { tensor, offset, checksum } in &*slabs {
            let whole = &mut wholes[*tensor];
            let name = &self.names[*tensor];
            assert!(*offset >= whole.total_len(), "no byte of tensor {name} was written twice");
            whole.combine(checksum);
        }
        wholes.into_iter().map(Hasher::finalize).collect()
    }
}

impl TensorSink for TorchSink {
    fn write(&self, tensor: usize, offset: u64, slab: &[u8]) -> Result<()> {
        self.file.write(tensor, offset, slab)?;
        let mut checksum = Hasher::new();
        checksum.update(slab);
        let mut slabs = self.slabs.lock().unwrap_or_else(PoisonError::into_inner);
        slabs.push(Slab { tensor, offset, checksum });
        Ok(())
    }

    /// Also writes all that is not tensors. The sink below refuses tensors of which something is missing.
    fn finish(self: Box<Self>) -> Result<()> {
        let mut checksums = vec![crc32fast::hash(&self.pickle), crc32fast::hash(BYTE_ORDER)];
        checksums.extend(self.checksums());
        checksums.push(crc32fast::hash(VERSION));

        let members = &self.layout.members;
        for (member, &checksum) in members.iter().zip(&checksums) {
            self.file.write_between(member.header, &member.local_header(checksum))?;
        }
        for (member, data) in members.iter().zip([&self.pickle, BYTE_ORDER]) {
            self.file.write_between(member.start, data)?;
        }
        let version = members.last().expect("the version is always there");
        self.file.write_between(version.start, VERSION)?;
        self.file.write_between(self.layout.end, &self.layout.directory(&checksums))?;
        self.file.finish()
    }
}
