//! A small writer of checkpoints as torch writes them, and of what torch would never write.

use std::sync::Arc;

use gristmill_tensor::{ByteSource, Bytes, Checkpoint, Format, MemorySource, OpenContext, Result};
use gristmill_torch::Torch;

/// Opens `bytes` as a file.
pub(crate) fn open(bytes: impl Into<Bytes>) -> Result<Box<dyn Checkpoint>> {
    open_source(Arc::new(MemorySource::new("test.bin", bytes)))
}

pub(crate) fn open_source(source: Arc<dyn ByteSource>) -> Result<Box<dyn Checkpoint>> {
    Torch.open(source, &OpenContext::default())
}

/// The message of opening `bytes`, which must fail.
pub(crate) fn refusal(bytes: impl Into<Bytes>) -> String {
    match open(bytes) {
        Ok(checkpoint) => panic!("opened: {:?}", checkpoint.tensors()),
        Err(error) => error.to_string(),
    }
}

/// Opens and reads everything.
pub(crate) fn read_all(bytes: impl Into<Bytes>) -> Result<()> {
    let checkpoint = open(bytes)?;
    for info in checkpoint.tensors() {
        checkpoint.tensor(&info.name)?;
    }
    Ok(())
}

/// A tensor's elements as little-endian bytes.
pub(crate) fn bytes_of(checkpoint: &dyn Checkpoint, name: &str) -> Vec<u8> {
    checkpoint.tensor(name).unwrap().bytes.to_vec()
}

pub(crate) fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

// Pickles: each function gives the opcodes that push one value.

pub(crate) fn pickle(body: &[u8]) -> Vec<u8> {
    [b"\x80\x02", body, b"."].concat()
}

pub(crate) fn text(text: &str) -> Vec<u8> {
    [b"X", (text.len() as u32).to_le_bytes().as_slice(), text.as_bytes()].concat()
}

pub(crate) fn int(value: i64) -> Vec<u8> {
    match u8::try_from(value) {
        Ok(byte) => vec![b'K', byte],
        Err(_) => [b"\x8a\x08", value.to_le_bytes().as_slice()].concat(),
    }
}

pub(crate) fn global(module: &str, name: &str) -> Vec<u8> {
    format!("c{module}\n{name}\n").into_bytes()
}

pub(crate) fn tuple(items: &[Vec<u8>]) -> Vec<u8> {
    [b"(", items.concat().as_slice(), b"t"].concat()
}

pub(crate) fn ints(values: &[i64]) -> Vec<u8> {
    tuple(&values.iter().map(|&value| int(value)).collect::<Vec<_>>())
}

pub(crate) fn call(module: &str, name: &str, args: &[Vec<u8>]) -> Vec<u8> {
    [global(module, name), tuple(args), b"R".to_vec()].concat()
}

/// A plain dictionary.
pub(crate) fn dict(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let items: Vec<u8> =
        entries.iter().flat_map(|(key, value)| [text(key), value.clone()].concat()).collect();
    [b"}(", items.as_slice(), b"u"].concat()
}

/// What a module's `state_dict()` gives: an OrderedDict with `_metadata`.
pub(crate) fn state_dict(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let items: Vec<u8> =
        entries.iter().flat_map(|(key, value)| [text(key), value.clone()].concat()).collect();
    let state = dict(&[("_metadata", dict(&[("", dict(&[("version", int(1))]))]))]);
    [ordered_dict().as_slice(), b"(", &items, b"u", &state, b"b"].concat()
}

pub(crate) fn ordered_dict() -> Vec<u8> {
    [global("collections", "OrderedDict"), b")R".to_vec()].concat()
}

pub(crate) fn storage(class: &str, key: &str, numel: i64) -> Vec<u8> {
    let class = match class {
        "UntypedStorage" => global("torch.storage", class),
        _ => global("torch", class),
    };
    [tuple(&[text("storage"), class, text(key), text("cpu"), int(numel)]), b"Q".to_vec()].concat()
}

pub(crate) fn tensor(storage: Vec<u8>, offset: i64, size: &[i64], stride: &[i64]) -> Vec<u8> {
    let args = [storage, int(offset), ints(size), ints(stride), b"\x89".to_vec(), ordered_dict()];
    call("torch._utils", "_rebuild_tensor_v2", &args)
}

pub(crate) fn tensor_v3(numel: i64, size: &[i64], stride: &[i64], dtype: &str) -> Vec<u8> {
    let storage = storage("UntypedStorage", "0", numel);
    let rest = [b"\x89".to_vec(), ordered_dict(), global("torch", dtype)];
    let args = [vec![storage, int(0), ints(size), ints(stride)], rest.to_vec()].concat();
    call("torch._utils", "_rebuild_tensor_v3", &args)
}

/// The first `numel` elements of storage "0" as a vector.
pub(crate) fn vector(class: &str, numel: i64) -> Vec<u8> {
    tensor(storage(class, "0", numel), 0, &[numel], &[1])
}

// The zip container.

/// A zip as torch writes it: stored members, sizes and checksums only in the directory, data at multiples of 64.
#[derive(Default)]
pub(crate) struct Zip {
    pub(crate) bytes: Vec<u8>,
    pub(crate) directory: Vec<u8>,
    pub(crate) members: u64,
}

impl Zip {
    pub(crate) fn new(members: &[(&str, &[u8])]) -> Zip {
        let mut zip = Zip::default();
        for (name, data) in members {
            zip.add(name, data);
        }
        zip
    }

    pub(crate) fn add(&mut self, name: &str, data: &[u8]) {
        let at = self.local_header(name);
        self.bytes.extend_from_slice(data);
        let len = data.len() as u32;
        self.bytes.extend_from_slice(b"PK\x07\x08\0\0\0\0");
        self.bytes.extend_from_slice(&len.to_le_bytes());
        self.bytes.extend_from_slice(&len.to_le_bytes());
        self.entry(name, at as u32, len, len, &[]);
    }

    /// Writes a local header and gives its place.
    pub(crate) fn local_header(&mut self, name: &str) -> usize {
        let at = self.bytes.len();
        let data = at + 30 + name.len() + 4;
        let padding = data.next_multiple_of(64) - data;
        self.bytes.extend_from_slice(b"PK\x03\x04\0\0\x08\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
        self.bytes.extend_from_slice(&(name.len() as u16).to_le_bytes());
        self.bytes.extend_from_slice(&(padding as u16 + 4).to_le_bytes());
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(b"FB");
        self.bytes.extend_from_slice(&(padding as u16).to_le_bytes());
        self.bytes.resize(self.bytes.len() + padding, b'Z');
        at
    }

    /// Writes a directory entry, true or not.
    pub(crate) fn entry(&mut self, name: &str, at: u32, packed: u32, len: u32, extra: &[u8]) {
        self.members += 1;
        self.directory.extend_from_slice(b"PK\x01\x02\0\0\0\0\x08\x08\0\0\0\0\0\0\0\0\0\0");
        self.directory.extend_from_slice(&packed.to_le_bytes());
        self.directory.extend_from_slice(&len.to_le_bytes());
        self.directory.extend_from_slice(&(name.len() as u16).to_le_bytes());
        self.directory.extend_from_slice(&(extra.len() as u16).to_le_bytes());
        self.directory.extend_from_slice(&[0; 10]);
        self.directory.extend_from_slice(&at.to_le_bytes());
        self.directory.extend_from_slice(name.as_bytes());
        self.directory.extend_from_slice(extra);
    }

    /// The end of the archive when its directory begins at `start`.
    pub(crate) fn end(&self, start: u64) -> Vec<u8> {
        let mut end = self.directory.clone();
        let len = self.directory.len() as u64;
        let u64s = |values: [u64; 4]| values.map(u64::to_le_bytes).concat();
        end.extend_from_slice(b"PK\x06\x06\x2c\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
        end.extend_from_slice(&u64s([self.members, self.members, len, start]));
        end.extend_from_slice(b"PK\x06\x07\0\0\0\0");
        end.extend_from_slice(&(start + len).to_le_bytes());
        end.extend_from_slice(&1u32.to_le_bytes());
        end.extend_from_slice(b"PK\x05\x06\0\0\0\0");
        end.extend_from_slice(&(self.members as u16).to_le_bytes());
        end.extend_from_slice(&(self.members as u16).to_le_bytes());
        end.extend_from_slice(&(len as u32).to_le_bytes());
        end.extend_from_slice(&u32::try_from(start).unwrap_or(u32::MAX).to_le_bytes());
        end.extend_from_slice(&[0; 2]);
        end
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        let end = self.end(self.bytes.len() as u64);
        self.bytes.extend_from_slice(&end);
        self.bytes
    }
}

/// A zip checkpoint of the object that `body` pushes; storage 0, 1, … hold `storages`.
pub(crate) fn zip(body: &[u8], storages: &[&[u8]]) -> Vec<u8> {
    zip_of(body, storages, "little").finish()
}

pub(crate) fn zip_of(body: &[u8], storages: &[&[u8]], byteorder: &str) -> Zip {
    let mut zip = Zip::new(&[
        ("model/data.pkl", &pickle(body)),
        ("model/.format_version", b"1"),
        ("model/byteorder", byteorder.as_bytes()),
    ]);
    for (key, data) in storages.iter().enumerate() {
        zip.add(&format!("model/data/{key}"), data);
    }
    zip.add("model/version", b"3\n");
    zip
}

// The legacy stream.

pub(crate) const LEGACY_MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

/// A legacy checkpoint; a storage is its key, its number of elements and its bytes.
pub(crate) fn legacy(body: &[u8], storages: &[(&str, u64, &[u8])]) -> Vec<u8> {
    let mut file =
        legacy_pickles(body, &storages.iter().map(|storage| storage.0).collect::<Vec<_>>(), true);
    for (_, numel, data) in storages {
        file.extend_from_slice(&numel.to_le_bytes());
        file.extend_from_slice(data);
    }
    file
}

pub(crate) fn legacy_pickles(body: &[u8], keys: &[&str], little_endian: bool) -> Vec<u8> {
    let sizes = dict(&[("short", int(2)), ("int", int(4)), ("long", int(4))]);
    let sys_info = dict(&[
        ("protocol_version", b"M\xe9\x03".to_vec()),
        ("little_endian", vec![if little_endian { 0x88 } else { 0x89 }]),
        ("type_sizes", sizes),
    ]);
    let keys: Vec<u8> = keys.iter().flat_map(|key| text(key)).collect();
    let keys = [b"](", keys.as_slice(), b"e"].concat();
    [LEGACY_MAGIC, &pickle(b"M\xe9\x03"), &pickle(&sys_info), &pickle(body), &pickle(&keys)]
        .concat()
}
