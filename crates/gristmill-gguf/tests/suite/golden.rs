//! The bytes that are written, spelled out.

use crate::common::{open, write, write_to};
use gristmill_gguf::Gguf;
use gristmill_tensor::{
    AtomicFile, Checkpoint, DType, Error, Format, Metadata, ModelHeader, TensorInfo,
};

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

#[test]
fn writes_these_very_bytes() {
    let mut metadata = Metadata::default();
    metadata.set("a", true);
    metadata.set("general.architecture", "mpt"); // moves to the front
    metadata.set("b", vec![1i16, -1]);
    let tensors = [
        (TensorInfo::new("x", DType::F16, [2, 3]), (1..=12).collect::<Vec<u8>>()),
        (TensorInfo::new("y", DType::F32, []), vec![0, 0, 128, 63]),
    ];
    let expected = hex("
        47475546 03000000 0200000000000000 0300000000000000
        1400000000000000 67656e6572616c2e617263686974656374757265 08000000 0300000000000000 6d7074
        0100000000000000 61 07000000 01
        0100000000000000 62 09000000 03000000 0200000000000000 0100 ffff
        0100000000000000 78 02000000 0300000000000000 0200000000000000 01000000 0000000000000000
        0100000000000000 79 01000000 0100000000000000 00000000 2000000000000000
        0000000000000000
        0102030405060708090a0b0c 0000000000000000000000000000000000000000
        0000803f 00000000000000000000000000000000000000000000000000000000
    ");
    assert_eq!(write(&metadata, &tensors).unwrap(), expected);
}

#[test]
fn the_alignment_of_the_metadata_is_honored() {
    let mut metadata = Metadata::default();
    metadata.set("general.alignment", 128u32);
    let tensor = |name: &str| (TensorInfo::new(name, DType::I8, [3]), vec![7; 3]);
    let bytes = write(&metadata, &[tensor("a"), tensor("b")]).unwrap();
    let model = open(&bytes).unwrap();
    assert_eq!(model.alignment(), 128);
    let (a, b) = (model.byte_range("a").unwrap(), model.byte_range("b").unwrap());
    assert!(a.start.is_multiple_of(128));
    assert_eq!(b.start, a.start + 128);
    assert_eq!(bytes.len() as u64, b.start + 128);
    assert!(bytes[a.end as usize..b.start as usize].iter().all(|&byte| byte == 0));
}

#[test]
fn a_file_without_tensors_ends_with_its_header() {
    let mut metadata = Metadata::default();
    metadata.set("k", 1u8);
    let bytes = write(&metadata, &[]).unwrap();
    assert_eq!(bytes.len(), 24 + 8 + 1 + 4 + 1);
    assert_eq!(open(&bytes).unwrap().metadata().get_usize("k").unwrap(), Some(1));
}

#[test]
fn slabs_come_in_any_order_from_several_threads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let infos =
        [TensorInfo::new("a", DType::I32, [64, 16]), TensorInfo::new("b", DType::I32, [64, 16])];
    let header = ModelHeader { metadata: &Metadata::default(), tensors: &infos };
    let sink = Gguf.create(AtomicFile::create(&path, false).unwrap(), &header).unwrap();
    std::thread::scope(|scope| {
        for tensor in [1, 0] {
            let sink = &sink;
            scope.spawn(move || {
                for row in (0..64u8).rev() {
                    sink.write(tensor, u64::from(row) * 64, &[row ^ (tensor as u8 * 128); 64])
                        .unwrap();
                }
            });
        }
    });
    sink.finish().unwrap();
    let model = open(&std::fs::read(&path).unwrap()).unwrap();
    for (name, flip) in [("a", 0), ("b", 128)] {
        let bytes = model.read(name, 0..64).unwrap();
        assert!((0..64u8).all(|row| bytes[usize::from(row) * 64..][..64] == [row ^ flip; 64]));
    }
}

#[test]
fn a_file_with_places_never_written_is_not_finished() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let infos = [TensorInfo::new("a", DType::I8, [4])];
    let header = ModelHeader { metadata: &Metadata::default(), tensors: &infos };
    let sink = Gguf.create(AtomicFile::create(&path, false).unwrap(), &header).unwrap();
    sink.write(0, 0, &[1, 2]).unwrap();
    let error = sink.finish().unwrap_err();
    assert!(
        matches!(error, Error::Missing { .. })
            && error.to_string().contains("2 of 4 bytes of tensor a")
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn models_that_gguf_cannot_hold_are_refused_before_anything_is_written() {
    let vector = |name: &str, dtype| TensorInfo::new(name, dtype, [4]);
    let long = "n".repeat(64);
    let cases: [(&str, Vec<TensorInfo>); 7] = [
        ("twice", vec![vector("a", DType::F32), vector("a", DType::F32)]),
        ("U8, which GGUF cannot store", vec![vector("a", DType::U8)]),
        ("whole Q4_0 blocks", vec![vector("a", DType::Q4_0)]),
        ("64 bytes", vec![vector(&long, DType::F32)]),
        ("control characters", vec![vector("a\nb", DType::F32)]),
        ("extents of zero", vec![TensorInfo::new("a", DType::F32, [0, 4])]),
        ("5 dimensions", vec![TensorInfo::new("a", DType::F32, [1, 1, 1, 1, 1])]),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let refusal = |metadata: &Metadata, tensors: &[TensorInfo]| {
        let file = AtomicFile::create(&path, false).unwrap();
        let result = Gguf.create(file, &ModelHeader { metadata, tensors });
        result.err().expect("the model must be refused").to_string()
    };
    for (words, tensors) in cases {
        let message = refusal(&Metadata::default(), &tensors);
        assert!(message.contains(words), "{words}: {message}");
    }
    let mut metadata = Metadata::default();
    metadata.set("general.alignment", 48u32);
    assert!(refusal(&metadata, &[]).contains("power of two"));
    let mut metadata = Metadata::default();
    metadata.set("", 1u32);
    assert!(refusal(&metadata, &[]).contains("0 bytes"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn the_reader_of_a_path_maps_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    write_to(&path, &Metadata::default(), &[(TensorInfo::new("a", DType::I8, [2]), vec![5, 6])])
        .unwrap();
    let model = gristmill_gguf::Reader::open(&path).unwrap();
    assert_eq!(*model.read("a", 0..1).unwrap(), [5, 6]);
    assert!(matches!(model.read("b", 0..1), Err(Error::Missing { .. })));
}
