//! Both containers, written byte by byte, and everything a pickled tensor may be.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::common::*;
use gristmill_tensor::{
    ByteSource, Bytes, Checkpoint, DType, Error, FileSource, Format, MemorySource, Result,
};
use gristmill_torch::{Torch, audit, is_permitted};

const SIX: [f32; 6] = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];

fn names(checkpoint: &dyn Checkpoint) -> Vec<&str> {
    checkpoint.tensors().iter().map(|info| info.name.as_str()).collect()
}

#[test]
fn both_containers_give_the_same_tensors_in_the_order_of_the_file() {
    let body = |keys: [&str; 2]| {
        state_dict(&[
            ("z.weight", tensor(storage("FloatStorage", keys[0], 6), 0, &[2, 3], &[3, 1])),
            ("a.bias", tensor(storage("HalfStorage", keys[1], 2), 0, &[2], &[1])),
            ("scale", tensor(storage("FloatStorage", keys[0], 6), 5, &[], &[])),
        ])
    };
    let (first, second) = (f32s(&SIX), [0x00, 0x3c, 0x00, 0xc0]);
    let in_zip = open(zip(&body(["0", "1"]), &[&first, &second])).unwrap();
    let in_stream =
        open(legacy(&body(["94000", "94001"]), &[("94001", 2, &second), ("94000", 6, &first)]))
            .unwrap();
    assert_eq!(
        (in_zip.format(), in_stream.format()),
        ("PyTorch zip".into(), "PyTorch legacy stream".into())
    );
    assert_eq!(in_zip.tensors(), in_stream.tensors());
    assert_eq!(names(&*in_zip), ["z.weight", "a.bias", "scale"]);
    assert_eq!(in_zip.tensors()[0].shape.dims(), [2, 3]);
    assert_eq!(in_zip.tensors()[2].shape.rank(), 0);
    for checkpoint in [&*in_zip, &*in_stream] {
        assert_eq!(bytes_of(checkpoint, "z.weight"), first);
        assert_eq!(*checkpoint.read("z.weight", 1..2).unwrap(), first[12..]);
        assert_eq!(bytes_of(checkpoint, "a.bias"), second);
        assert_eq!(bytes_of(checkpoint, "scale"), f32s(&[5.0]));
        assert!(matches!(checkpoint.read("b", 0..1), Err(Error::Missing { .. })));
        assert!(checkpoint.metadata().is_empty());
    }
}

#[test]
fn stored_storages_of_a_mapping_are_read_without_a_copy() {
    let file = Bytes::from(zip(&dict(&[("a", vector("FloatStorage", 6))]), &[&f32s(&SIX)]));
    let checkpoint = open(file.clone()).unwrap();
    let bytes = checkpoint.read("a", 0..1).unwrap();
    assert!(file.as_ptr_range().contains(&bytes.as_ptr()));
}

#[test]
fn every_storage_class_and_element_type_has_its_dtype() {
    let classes = [
        ("FloatStorage", DType::F32),
        ("HalfStorage", DType::F16),
        ("BFloat16Storage", DType::BF16),
        ("DoubleStorage", DType::F64),
        ("LongStorage", DType::I64),
        ("IntStorage", DType::I32),
        ("ShortStorage", DType::I16),
        ("CharStorage", DType::I8),
        ("ByteStorage", DType::U8),
        ("BoolStorage", DType::BOOL),
    ];
    for (class, dtype) in classes {
        let data = vec![1; 2 * dtype.block_bytes()];
        let checkpoint = open(zip(&dict(&[("a", vector(class, 2))]), &[&data])).unwrap();
        assert_eq!(checkpoint.tensors()[0].dtype, dtype);
        assert_eq!(bytes_of(&*checkpoint, "a"), data);
    }
    for (element, dtype) in [
        ("uint16", DType::U16),
        ("uint32", DType::U32),
        ("uint64", DType::U64),
        ("float8_e4m3fn", DType::F8_E4M3),
        ("float8_e5m2", DType::F8_E5M2),
        ("bfloat16", DType::BF16),
    ] {
        let data: Vec<u8> = (0..16).collect();
        let n = 16 / dtype.block_bytes() as i64;
        let body = dict(&[("a", tensor_v3(16, &[n], &[1], element))]);
        let checkpoint = open(zip(&body, &[&data])).unwrap();
        assert_eq!(checkpoint.tensors()[0].dtype, dtype);
        assert_eq!(bytes_of(&*checkpoint, "a"), data);
        let past = dict(&[("a", tensor_v3(16, &[n + 1], &[1], element))]);
        assert!(refusal(zip(&past, &[&data])).contains("past the end"));
    }
}

#[test]
fn complex_quantized_and_sparse_tensors_are_refused_by_name() {
    for (class, bytes) in [("ComplexFloatStorage", 16), ("QInt8Storage", 2), ("QUInt4x2Storage", 2)]
    {
        let message = refusal(zip(&dict(&[("h.0.w", vector(class, 2))]), &[&vec![0; bytes]]));
        assert!(message.contains("h.0.w") && message.contains(class), "{message}");
    }
    let message =
        refusal(zip(&dict(&[("w", tensor_v3(16, &[2], &[1], "complex64"))]), &[&[0; 16]]));
    assert!(message.contains("torch.complex64"), "{message}");
    for function in
        ["_rebuild_qtensor", "_rebuild_sparse_tensor", "_rebuild_meta_tensor_no_storage"]
    {
        let body = dict(&[("w", call("torch._utils", function, &[int(1)]))]);
        let message = refusal(zip(&body, &[]));
        assert!(message.contains("tensor w") && message.contains(function), "{message}");
    }
}

#[test]
fn parameters_and_tensor_subclasses_are_the_tensors_inside() {
    let inner = vector("FloatStorage", 6);
    let parameter = call(
        "torch._utils",
        "_rebuild_parameter",
        &[inner.clone(), b"\x88".to_vec(), ordered_dict()],
    );
    let args = tuple(&[
        storage("FloatStorage", "0", 6),
        int(0),
        ints(&[6]),
        ints(&[1]),
        b"\x88".to_vec(),
        ordered_dict(),
    ]);
    let subclass = call(
        "torch._tensor",
        "_rebuild_from_type_v2",
        &[
            global("torch._utils", "_rebuild_tensor_v2"),
            global("torch.nn.parameter", "Parameter"),
            args,
            dict(&[("note", text("kept by nobody"))]),
        ],
    );
    let with_state = [inner, dict(&[("grad_fn", b"N".to_vec())]), b"b".to_vec()].concat();
    let body = dict(&[("a", parameter), ("b", subclass), ("c", with_state)]);
    let checkpoint = open(zip(&body, &[&f32s(&SIX)])).unwrap();
    for name in ["a", "b", "c"] {
        assert_eq!(bytes_of(&*checkpoint, name), f32s(&SIX));
    }
}

#[test]
fn big_endian_storages_are_turned_around() {
    let big: Vec<u8> = SIX.iter().flat_map(|value| value.to_be_bytes()).collect();
    let body = dict(&[
        ("a", tensor(storage("FloatStorage", "0", 6), 0, &[6], &[1])),
        ("b", tensor(storage("FloatStorage", "0", 6), 0, &[3, 2], &[1, 3])),
    ]);
    let in_zip = zip_of(&body, &[&big], "big").finish();
    let mut stream = legacy_pickles(&body, &["0"], false);
    stream.extend_from_slice(&6u64.to_be_bytes());
    stream.extend_from_slice(&big);
    for file in [in_zip, stream] {
        let checkpoint = open(file).unwrap();
        assert_eq!(bytes_of(&*checkpoint, "a"), f32s(&SIX));
        assert_eq!(*checkpoint.read("b", 1..2).unwrap(), f32s(&[1.0, 4.0]));
    }
    assert!(refusal(zip_of(&body, &[&big], "middle").finish()).contains("byteorder"));
}

#[test]
fn a_stream_of_a_big_endian_machine_may_be_little_endian_all_the_same() {
    let body = dict(&[("a", vector("FloatStorage", 6))]);
    let mut stream = legacy_pickles(&body, &["0"], false);
    stream.extend_from_slice(&6u64.to_le_bytes());
    stream.extend_from_slice(&f32s(&SIX));
    assert_eq!(bytes_of(&*open(stream).unwrap(), "a"), f32s(&SIX));
}

#[test]
fn deflated_members_are_inflated() {
    let body = dict(&[
        ("a", vector("FloatStorage", 6)),
        ("t", tensor(storage("FloatStorage", "1", 6), 0, &[3, 2], &[1, 3])),
    ]);
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Deflated);
    let data = f32s(&SIX);
    for (name, data) in [("m/data.pkl", &pickle(&body)), ("m/data/0", &data), ("m/data/1", &data)] {
        writer.start_file(name, options).unwrap();
        std::io::Write::write_all(&mut writer, data).unwrap();
    }
    let checkpoint = open(writer.finish().unwrap().into_inner()).unwrap();
    for _ in 0..2 {
        assert_eq!(bytes_of(&*checkpoint, "a"), data);
        assert_eq!(bytes_of(&*checkpoint, "t"), f32s(&[0.0, 3.0, 1.0, 4.0, 2.0, 5.0]));
    }
}

#[test]
fn wrappers_are_taken_off_and_nested_dictionaries_joined_by_dots() {
    let a = || vector("FloatStorage", 6);
    let list = [b"](".as_slice(), &a(), b"N", &a(), b"e"].concat();
    let cases: [(Vec<u8>, &[&str]); 8] = [
        (dict(&[("model", dict(&[("n", int(1))])), ("ema", dict(&[("y", a())]))]), &["ema.y"]),
        (dict(&[("x", a()), ("model", dict(&[("y", a())]))]), &["x", "model.y"]),
        (dict(&[("epoch", int(3)), ("state_dict", state_dict(&[("y", a())]))]), &["y"]),
        (dict(&[("optimizer", dict(&[("z", a())])), ("model", dict(&[("y", a())]))]), &["y"]),
        (dict(&[("module", dict(&[("h", dict(&[("y", a())]))]))]), &["h.y"]),
        (dict(&[("model_state_dict", dict(&[("y", a())]))]), &["y"]),
        (dict(&[("net", dict(&[("y", a())])), ("lr", b"G?\xf0\0\0\0\0\0\0".to_vec())]), &["net.y"]),
        (dict(&[("parts", list)]), &["parts.0", "parts.2"]),
    ];
    for (body, expected) in cases {
        assert_eq!(names(&*open(zip(&body, &[&f32s(&SIX)])).unwrap()), expected);
    }
    let twice = dict(&[("a.b", a()), ("a", dict(&[("b", a())]))]);
    assert!(refusal(zip(&twice, &[&f32s(&SIX)])).contains("tensor a.b occurs twice"));
}

#[test]
fn what_stands_beside_the_tensors_is_passed_over() {
    let namespace = [
        global("argparse", "Namespace"),
        b")\x81".to_vec(),
        dict(&[("lr", int(1))]),
        b"b".to_vec(),
    ];
    let scalar = call(
        "numpy.core.multiarray",
        "scalar",
        &[
            [global("numpy", "dtype"), tuple(&[text("f8"), int(0), int(1)]), b"R".to_vec()]
                .concat(),
            call("_codecs", "encode", &[text("\u{0}\u{1}"), text("latin1")]),
        ],
    );
    let body = dict(&[
        ("args", namespace.concat()),
        ("best", scalar),
        ("rng", b"\x8a\x09\xff\xff\xff\xff\xff\xff\xff\xff\x00".to_vec()),
        ("device", call("torch", "device", &[text("cpu")])),
        ("dtype", global("torch", "float16")),
        ("\0weird", text("\0call")),
        ("w", vector("FloatStorage", 6)),
    ]);
    assert_eq!(names(&*open(zip(&body, &[&f32s(&SIX)])).unwrap()), ["w"]);
}

#[test]
fn storages_of_an_optimizer_are_skipped_in_a_stream() {
    let moment = tensor(storage("ComplexFloatStorage", "7", 1), 0, &[1], &[1]);
    let body = dict(&[
        ("optimizer", dict(&[("m", moment)])),
        ("model", dict(&[("w", vector("FloatStorage", 6))])),
    ]);
    let checkpoint = open(legacy(&body, &[("7", 1, &[9; 8]), ("0", 6, &f32s(&SIX))])).unwrap();
    assert_eq!(names(&*checkpoint), ["w"]);
    assert_eq!(bytes_of(&*checkpoint, "w"), f32s(&SIX));
}

#[test]
fn a_stream_may_describe_a_storage_as_a_part_of_another() {
    let part = |start, len| {
        let view = tuple(&[text("5"), int(start), int(len)]);
        let id = [
            text("storage"),
            global("torch", "FloatStorage"),
            text("0"),
            text("cpu"),
            int(6),
            view,
        ];
        [tuple(&id), b"Q".to_vec()].concat()
    };
    let data = f32s(&SIX);
    let body = dict(&[("w", tensor(part(2, 3), 1, &[2], &[1]))]);
    let checkpoint = open(legacy(&body, &[("0", 6, &data)])).unwrap();
    assert_eq!(bytes_of(&*checkpoint, "w"), f32s(&[3.0, 4.0]));
    for bad in [tensor(part(2, 3), 2, &[2], &[1]), tensor(part(4, 3), 0, &[1], &[1])] {
        assert!(refusal(legacy(&dict(&[("w", bad)]), &[("0", 6, &data)])).contains("past"));
    }
}

#[test]
fn tied_tensors_know_the_first_of_their_names() {
    let view = |offset, size: &[i64], stride: &[i64]| {
        tensor(storage("FloatStorage", "0", 6), offset, size, stride)
    };
    let body = dict(&[
        ("wte", view(0, &[2, 3], &[3, 1])),
        ("turned", view(0, &[3, 2], &[1, 3])),
        ("head", view(0, &[2, 3], &[3, 1])),
        ("part", view(3, &[3], &[1])),
        ("again", view(0, &[2, 3], &[3, 1])),
    ]);
    let checkpoint = open(zip(&body, &[&f32s(&SIX)])).unwrap();
    let aliases = names(&*checkpoint).into_iter().map(|name| checkpoint.alias_of(name));
    assert_eq!(aliases.collect::<Vec<_>>(), [None, None, Some("wte"), None, Some("wte")]);
    assert_eq!(bytes_of(&*checkpoint, "turned"), f32s(&[0.0, 3.0, 1.0, 4.0, 2.0, 5.0]));
}

#[test]
fn empty_tensors_need_no_data() {
    let body = dict(&[
        ("a", tensor(storage("FloatStorage", "0", 0), 0, &[0], &[1])),
        ("b", tensor(storage("FloatStorage", "0", 0), 9, &[3, 0], &[1, 1])),
        ("c", tensor(storage("FloatStorage", "0", 0), 0, &[0, 3], &[3, 1])),
    ]);
    let checkpoint = open(zip(&body, &[&[]])).unwrap();
    for name in ["a", "b", "c"] {
        assert!(bytes_of(&*checkpoint, name).is_empty());
        assert_eq!(checkpoint.alias_of(name), None);
    }
}

#[test]
fn newer_pickle_protocols_are_read_too() {
    // Protocol 4 names globals by two texts and memoizes without numbers.
    let short = |text: &str| [&[0x8c, text.len() as u8], text.as_bytes(), b"\x94"].concat();
    let named =
        |module: &str, name: &str| [short(module), short(name), b"\x93\x94".to_vec()].concat();
    let id = [
        b"(".to_vec(),
        short("storage"),
        named("torch", "FloatStorage"),
        short("0"),
        short("cpu"),
        b"K\x06t\x94Q".to_vec(),
    ]
    .concat();
    let rest = b"K\x00K\x06\x85\x94K\x01\x85\x94\x89".to_vec();
    let hooks = [named("collections", "OrderedDict"), b")R\x94".to_vec()].concat();
    let body = [
        b"\x95\x10\0\0\0\0\0\0\0}\x94".to_vec(),
        short("w"),
        named("torch._utils", "_rebuild_tensor_v2"),
        b"(".to_vec(),
        id,
        rest,
        hooks,
        b"t\x94R\x94s".to_vec(),
    ]
    .concat();
    let file = zip(&body, &[&f32s(&SIX)]);
    assert_eq!(bytes_of(&*open(file.clone()).unwrap(), "w"), f32s(&SIX));
    let found = audit(Arc::new(MemorySource::new("test.bin", file))).unwrap();
    assert_eq!(
        found,
        ["torch._utils._rebuild_tensor_v2", "torch.FloatStorage", "collections.OrderedDict"]
    );
}

#[test]
fn archives_that_are_no_checkpoints_are_refused_with_a_hint() {
    let body = dict(&[("a", vector("FloatStorage", 6))]);
    let with = |name: &str, data: &[u8]| {
        let mut zip = zip_of(&body, &[&f32s(&SIX)], "little");
        zip.add(name, data);
        refusal(zip.finish())
    };
    assert!(with("model/constants.pkl", b"\x80\x02).").contains("TorchScript"));
    assert!(with("model/code/__torch__.py", b"").contains("TorchScript"));
    assert!(with("other/data.pkl", b"").contains("more than one data.pkl"));
    assert!(with("model/data/0", b"").contains("same name"));
    assert!(with("model/../../etc/passwd", b"").contains("passwd"));
    assert!(with("..\\x", b"").contains("refused"));
    assert!(with("/etc/passwd", b"").contains("passwd"));
    assert!(
        refusal(Zip::new(&[("model/config.json", b"{}")]).finish()).contains("without data.pkl")
    );
    let mut newer = Zip::new(&[("m/data.pkl", &pickle(&body)), ("m/version", b"11\n")]);
    newer.add("m/data/0", &f32s(&SIX));
    assert!(refusal(newer.finish()).contains("version"));
}

#[test]
fn tar_archives_and_web_pages_are_refused_with_advice() {
    let mut tar = vec![0u8; 1024];
    tar[..8].copy_from_slice(b"sys_info");
    tar[257..262].copy_from_slice(b"ustar");
    assert!(Torch.detect(Path::new("old.pt"), &tar));
    assert!(!Torch.detect(Path::new("model.nemo"), &tar));
    assert!(refusal(tar).contains("tar archive"));
    assert!(refusal(b"<!DOCTYPE html>".to_vec()).contains("neither"));
    assert!(refusal(Vec::new()).contains("neither"));
}

#[test]
fn files_are_recognized_by_their_first_bytes() {
    let path = Path::new("model");
    assert!(Torch.detect(path, b"PK\x03\x04rest"));
    assert!(Torch.detect(path, LEGACY_MAGIC));
    let framed = [b"\x80\x04\x95\x0d\0\0\0\0\0\0\0".as_slice(), &LEGACY_MAGIC[2..]].concat();
    assert!(Torch.detect(path, &framed));
    assert!(!Torch.detect(path, b"\x80\x02}."));
    assert!(Torch.detect(Path::new("model.PT"), b"\x80\x02}."));
    for head in [b"GGUF".as_slice(), b"", b"\x80", b"lmgg", b"{\"a\":1}", b"PK\x05\x06"] {
        assert!(!Torch.detect(Path::new("model.bin"), head), "{head:?}");
    }
}

#[test]
fn members_that_overlap_or_reach_past_the_end_are_refused() {
    let body = dict(&[("a", vector("FloatStorage", 6))]);
    let mut shared = zip_of(&body, &[&f32s(&SIX)], "little");
    shared.entry("model/data/1", 0, 4, 4, &[]);
    assert!(refusal(shared.finish()).contains("overlap"));
    let mut past = Zip::new(&[("model/data.pkl", &pickle(&body))]);
    let at = past.local_header("model/data/0") as u32;
    past.entry("model/data/0", at, 1 << 30, 1 << 30, &[]);
    assert!(open(past.finish()).is_err());
}

#[test]
fn a_storage_of_the_wrong_length_is_refused() {
    let body = dict(&[("a", vector("FloatStorage", 6))]);
    for len in [0, 20, 23, 25, 28] {
        assert!(refusal(zip(&body, &[&vec![0; len]])).contains("storage"), "{len}");
    }
    let data = f32s(&SIX);
    let malformed = [
        legacy(&body, &[("0", 5, &data)]),
        legacy(&body, &[("0", 6, &data[1..])]),
        legacy(&body, &[("0", 6, &data), ("0", 6, &data)]),
        legacy(&body, &[("0", 6, &data), ("1", 6, &data)]),
        legacy(&body, &[]),
        [legacy(&body, &[("0", 6, &data)]), vec![0]].concat(),
    ];
    for file in malformed {
        assert!(open(file).is_err());
    }
}

#[test]
fn audit_lists_what_a_file_asks_for_without_loading_it() {
    let evil =
        [dict(&[("a", vector("FloatStorage", 6))]), b"0".to_vec(), global("posix", "system")]
            .concat();
    let source = |bytes| Arc::new(MemorySource::new("test.bin", bytes));
    let expected = [
        "torch._utils._rebuild_tensor_v2",
        "torch.FloatStorage",
        "collections.OrderedDict",
        "posix.system",
    ];
    assert_eq!(audit(source(zip(&evil, &[]))).unwrap(), expected);
    assert_eq!(audit(source(legacy(&evil, &[]))).unwrap(), expected);
    assert_eq!(audit(source(pickle(&global("os", "system")))).unwrap(), ["os.system"]);
    assert_eq!(audit(source(b"(S'id'\nios\nsystem\n.".to_vec())).unwrap(), ["os.system"]);
    assert!(audit(source(b"<html>".to_vec())).is_err());
    assert!(is_permitted("torch.FloatStorage") && !is_permitted("posix.system"));
}

/// A file that counts the bytes it gives.
struct Counting {
    file: FileSource,
    read: Arc<AtomicU64>,
    largest: Arc<AtomicU64>,
}

impl ByteSource for Counting {
    fn len(&self) -> u64 {
        self.file.len()
    }

    fn read(&self, range: std::ops::Range<u64>) -> Result<Bytes> {
        self.read.fetch_add(range.end - range.start, Ordering::Relaxed);
        self.largest.fetch_max(range.end - range.start, Ordering::Relaxed);
        self.file.read(range)
    }

    fn name(&self) -> String {
        self.file.name()
    }
}

#[test]
fn a_file_of_twelve_gigabytes_is_read_slab_by_slab() {
    // A sparse file: 12 GiB of zeros as one storage, so also zip64.
    const ROWS: u64 = 3 << 20;
    let numel = ROWS * 1024;
    let n_bytes = numel * 4;
    const TURNED_AT: i64 = (ROWS as i64 - 4096) * 1024;
    let body = dict(&[
        (
            "plain",
            tensor(storage("FloatStorage", "0", numel as i64), 0, &[ROWS as i64, 1024], &[1024, 1]),
        ),
        (
            "turned",
            tensor(
                storage("FloatStorage", "0", numel as i64),
                TURNED_AT,
                &[1024, 4096],
                &[1, 1024],
            ),
        ),
    ]);
    let mut zip = Zip::new(&[("m/data.pkl", &pickle(&body))]);
    let at = zip.local_header("m/data/0") as u32;
    let data = zip.bytes.len() as u64;
    let sizes =
        [b"\x01\0\x10\0".as_slice(), &n_bytes.to_le_bytes(), &n_bytes.to_le_bytes()].concat();
    zip.entry("m/data/0", at, u32::MAX, u32::MAX, &sizes);
    let path = tempfile::NamedTempFile::new().unwrap();
    let mut file = File::options().write(true).open(path.path()).unwrap();
    file.write_all(&zip.bytes).unwrap();
    file.seek(SeekFrom::Start(data + n_bytes - 4)).unwrap();
    file.write_all(&f32s(&[7.0])).unwrap();
    file.write_all(&zip.end(data + n_bytes)).unwrap();

    let (read, largest) = (Arc::default(), Arc::default());
    let source = Counting {
        file: FileSource::open(path.path()).unwrap(),
        read: Arc::clone(&read),
        largest: Arc::clone(&largest),
    };
    let checkpoint = open_source(Arc::new(source)).unwrap();
    assert!(
        read.swap(0, Ordering::Relaxed) < 1 << 20,
        "opening reads the directory and the pickle"
    );
    let rows = ROWS as usize;
    let slab = checkpoint.read("plain", rows - 16..rows).unwrap();
    assert_eq!(slab[slab.len() - 4..], f32s(&[7.0]));
    assert_eq!(read.swap(0, Ordering::Relaxed), 16 * 4096);
    // A row of the turned tensor is every 1024th element of 16 MiB, which are read in pieces.
    largest.store(0, Ordering::Relaxed);
    let row = checkpoint.read("turned", 1023..1024).unwrap();
    assert_eq!(row.len(), 4096 * 4);
    assert_eq!(row[row.len() - 4..], f32s(&[7.0]));
    assert!(read.load(Ordering::Relaxed) <= 17 << 20);
    assert!(largest.load(Ordering::Relaxed) <= 2 << 20);
}
