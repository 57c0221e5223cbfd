//! The zip container of torch 1.6 and later.
//!
//! ```text
//! model/data.pkl     the pickle
//! model/byteorder    "little" or "big"; little if absent
//! model/data/0       a storage, as its bytes; one member for each
//! model/version      "3"
//! ```
//!
//! The `zip` crate reads the directory; what it may allocate is bounded here first. torch stores its members
//! uncompressed, so a storage is a range of the file that is read as needed. Somebody may have packed the file
//! again, so deflated members are inflated as a whole; the last one is kept.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::as_conversions)]

use std::collections::HashMap;
use std::io::Read;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use gristmill_tensor::{
    ByteSource, Bytes, Checkpoint, Endian, Error, Limits, MemorySource, OpenContext, Result,
    check_range,
};
use zip::read::ZipFile;
use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

use crate::checkpoint::{Slice, TorchCheckpoint};
use crate::directory::{self, Reader};
use crate::{FORMAT, plain, rebuild};

/// How a zip archive with at least one member begins.
pub(crate) const MAGIC: &[u8] = b"PK\x03\x04";

/// The newest version of the container that is known: torch's `kMaxSupportedFileFormatVersion`.
const MAX_VERSION: u64 = 10;

/// How much longer than in the file a deflated member may be: times this, plus [`SLACK`]. Weights hardly compress;
/// the slack is for masks.
const MAX_GROWTH: u64 = 64;
const SLACK: u64 = 64 << 20;

/// The longest member that is inflated, as a whole and in memory.
const MAX_INFLATED: u64 = 4 << 30;

/// Opens a zip checkpoint.
pub(crate) fn open(
    source: Arc<dyn ByteSource>,
    context: &OpenContext,
) -> Result<Box<dyn Checkpoint>> {
    let archive = Archive::open(Arc::clone(&source), &context.limits)?;
    let folder = archive.folder()?;
    archive.check_version(&folder)?;
    let endian = archive.endian(&folder)?;
    let root = archive.pickle(&format!("{folder}/data.pkl"), &context.limits)?;
    let state = rebuild::rebuild(&root, &source.name(), &context.limits)?;
    let storages = state
        .storages
        .iter()
        .map(|storage| archive.member(&format!("{folder}/data/{}", storage.key)))
        .collect::<Result<_>>()?;
    Ok(Box::new(TorchCheckpoint::new("PyTorch zip", &*source, state, storages, endian)?))
}

/// Where a member is.
#[derive(Clone)]
struct Member {
    position: usize,
    /// The bytes of the file that hold it, packed or not.
    range: Range<u64>,
    deflated: bool,
    n_bytes: u64,
}

impl Member {
    /// Checks what the directory says about a member.
    fn locate(
        position: usize,
        name: &str,
        entry: &ZipFile<'_, Reader>,
        source: &dyn ByteSource,
    ) -> Result<Member> {
        let file = source.name();
        let deflated = match (entry.encrypted(), entry.compression()) {
            (false, CompressionMethod::Stored) => false,
            (false, CompressionMethod::Deflated) => true,
            (encrypted, method) => {
                let how =
                    if encrypted { "encrypted".into() } else { format!("packed by {method}") };
                let what =
                    format!("member {name} is {how}; save the checkpoint again with torch.save");
                return Err(Error::unsupported(file, FORMAT, what));
            }
        };
        let start = entry.data_start().expect("the local header was read with the entry");
        let (packed, n_bytes) = (entry.compressed_size(), entry.size());
        let Some(end) = start.checked_add(packed).filter(|&end| end <= source.len()) else {
            let what = format!("member {name} reaches past the end of the file");
            return Err(Error::malformed(file, FORMAT, start, what));
        };
        if deflated {
            let limit = packed.saturating_mul(MAX_GROWTH).saturating_add(SLACK).min(MAX_INFLATED);
            Limits::check(&file, &format!("the unpacked size of member {name}"), limit, n_bytes)?;
        } else if packed != n_bytes {
            let what =
                format!("member {name} claims {n_bytes} bytes but takes {packed} in the file");
            return Err(Error::malformed(file, FORMAT, start, what));
        }
        Ok(Member { position, range: start..end, deflated, n_bytes })
    }
}

/// A zip archive whose directory has been read and found sound.
pub(crate) struct Archive {
    source: Arc<dyn ByteSource>,
    zip: ZipArchive<Reader>,
    /// In the order of the directory.
    names: Vec<String>,
    members: HashMap<String, Member>,
    inflated: Arc<Mutex<Option<(usize, Bytes)>>>,
}

impl Archive {
    /// Reads the directory of `source`.
    pub(crate) fn open(source: Arc<dyn ByteSource>, limits: &Limits) -> Result<Archive> {
        let broken = |error: ZipError| {
            let what = format!(
                "the zip directory cannot be read ({error}); the file is cut short or damaged"
            );
            Error::malformed(source.name(), FORMAT, source.len(), what)
        };
        let malformed = |what: String| Error::malformed(source.name(), FORMAT, 0, what);
        let mut zip = directory::read(&source, limits)?.map_err(broken)?;
        if zip.has_duplicate_names() {
            return Err(malformed("two members of the zip have the same name; refused".into()));
        }
        if zip.has_overlapping_entries().map_err(broken)? {
            return Err(malformed("members of the zip overlap; refused".into()));
        }
        let mut names = Vec::with_capacity(zip.len());
        let mut members = HashMap::with_capacity(zip.len());
        for position in 0..zip.len() {
            let entry = zip.by_index_raw(position).map_err(broken)?;
            let name = entry.name().map_err(broken)?.into_owned();
            if !is_plain_path(&name) {
                return Err(malformed(format!("the zip has a member named {name:?}; refused")));
            }
            if entry.is_dir() {
                continue;
            }
            let member = Member::locate(position, &name, &entry, &*source)?;
            names.push(name.clone());
            members.insert(name, member);
        }
        Ok(Archive { source, zip, names, members, inflated: Arc::default() })
    }

    /// The names of the members in the order of the directory.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// The folder that holds `data.pkl`.
    fn folder(&self) -> Result<String> {
        let file = self.source.name();
        let mut folders = self.names.iter().filter_map(|name| name.strip_suffix("/data.pkl"));
        let Some(folder) = folders.next() else {
            let what = "a zip archive without data.pkl is no checkpoint of PyTorch's; if it is a packed folder, \
                        unpack it first";
            return Err(Error::unsupported(file, FORMAT, what));
        };
        if folders.next().is_some() {
            let what =
                "the zip has more than one data.pkl; refused, for it is not clear which is meant";
            return Err(Error::malformed(file, FORMAT, 0, what));
        }
        let code = format!("{folder}/code/");
        let constants = format!("{folder}/constants.pkl");
        if self.names.iter().any(|name| *name == constants || name.starts_with(&code)) {
            let what = "the file is a TorchScript program, not a checkpoint; load it with torch.jit.load and save its \
                        state_dict()";
            return Err(Error::unsupported(file, FORMAT, what));
        }
        Ok(folder.into())
    }

    fn check_version(&self, folder: &str) -> Result<()> {
        let Some(version) = self.short_text(&format!("{folder}/version"))? else { return Ok(()) };
        match version.parse::<u64>() {
            Ok(version) if version <= MAX_VERSION => Ok(()),
            _ => {
                let what = format!("version {version:?} of the container is not known");
                Err(Error::unsupported(self.source.name(), FORMAT, what))
            }
        }
    }

    fn endian(&self, folder: &str) -> Result<Endian> {
        match self.short_text(&format!("{folder}/byteorder"))?.as_deref() {
            None | Some("little") => Ok(Endian::Little),
            Some("big") => Ok(Endian::Big),
            Some(other) => {
                let what = format!("byteorder is {other:?}, neither little nor big");
                Err(Error::malformed(self.source.name(), FORMAT, 0, what))
            }
        }
    }

    /// The content of a member that holds one word, if it is there.
    fn short_text(&self, name: &str) -> Result<Option<String>> {
        if !self.members.contains_key(name) {
            return Ok(None);
        }
        let member = self.member(name)?;
        Limits::check(&self.source.name(), &format!("the length of {name}"), 64, member.len())?;
        let bytes = member.read(0..member.len())?;
        Ok(Some(String::from_utf8_lossy(&bytes).trim().into()))
    }

    /// Reads the pickle `name`.
    fn pickle(&self, name: &str, limits: &Limits) -> Result<plain::Plain> {
        let pickle = self.pickle_source(name, limits)?;
        let mut cursor = gristmill_tensor::Cursor::new(&pickle, FORMAT);
        plain::read(&mut cursor, &pickle.name(), limits)
    }

    /// The bytes of the pickle `name`, under a name that says where they are from.
    pub(crate) fn pickle_source(&self, name: &str, limits: &Limits) -> Result<MemorySource> {
        let member = self.member(name)?;
        let title = format!("{} ({name})", self.source.name());
        Limits::check(&title, "the length of the pickle", limits.header_bytes, member.len())?;
        Ok(MemorySource::new(title, member.read(0..member.len())?))
    }

    /// The content of a member; nothing is read yet.
    fn member(&self, name: &str) -> Result<Arc<dyn ByteSource>> {
        let Some(member) = self.members.get(name) else {
            return Err(Error::missing(self.source.name(), format!("zip member {name}")));
        };
        if !member.deflated {
            return Ok(Arc::new(Slice::new(&self.source, member.range.clone())));
        }
        Ok(Arc::new(Inflated {
            title: format!("{} ({name})", self.source.name()),
            zip: self.zip.clone(),
            position: member.position,
            n_bytes: member.n_bytes,
            inflated: Arc::clone(&self.inflated),
        }))
    }
}

/// Whether a member's name stays inside the archive's own folders.
fn is_plain_path(name: &str) -> bool {
    !name.starts_with(['/', '\\'])
        && !name.contains('\0')
        && name.split(['/', '\\']).all(|part| part != "..")
}

/// A deflated member.
struct Inflated {
    title: String,
    zip: ZipArchive<Reader>,
    position: usize,
    n_bytes: u64,
    /// The member of the archive that was inflated last, by its position.
    inflated: Arc<Mutex<Option<(usize, Bytes)>>>,
}

impl Inflated {
    fn inflate(&self) -> Result<Bytes> {
        let malformed = |what: String| {
            Error::malformed(&self.title, FORMAT, 0, format!("cannot be unpacked: {what}"))
        };
        let mut zip = self.zip.clone();
        let member = zip.by_index(self.position).map_err(|error| malformed(error.to_string()))?;
        let mut bytes = Vec::new();
        // One byte more than promised, to notice when there is more.
        let mut member = member.take(self.n_bytes.saturating_add(1));
        member.read_to_end(&mut bytes).map_err(|error| malformed(error.to_string()))?;
        if u64::try_from(bytes.len()).ok() != Some(self.n_bytes) {
            return Err(malformed(format!("{} bytes instead of {}", bytes.len(), self.n_bytes)));
        }
        Ok(Bytes::from(bytes))
    }
}

impl ByteSource for Inflated {
    fn len(&self) -> u64 {
        self.n_bytes
    }

    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        check_range(self, &range)?;
        let mut last = self.inflated.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = match &*last {
            Some((position, bytes)) if *position == self.position => bytes.clone(),
            _ => {
                // The one before goes first, so that there are never two.
                *last = None;
                let bytes = self.inflate()?;
                *last = Some((self.position, bytes.clone()));
                bytes
            }
        };
        let index = |at| usize::try_from(at).expect("inside bytes that are in memory");
        Ok(bytes.slice(index(range.start)..index(range.end)))
    }

    fn name(&self) -> String {
        self.title.clone()
    }
}
