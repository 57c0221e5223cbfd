//! What is written: read by our own reader, by the `zip` crate and by Python's zipfile.

use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;

use crate::common::*;
use gristmill_tensor::{
    AtomicFile, DType, Format, Metadata, ModelHeader, Result, Shape, TensorInfo, TensorSink,
};
use gristmill_testkit::Rng;
use gristmill_torch::Torch;
use proptest::collection::vec;
use proptest::prelude::*;

type Tensors = Vec<(TensorInfo, Vec<u8>)>;

const DTYPES: [DType; 10] = [
    DType::F32,
    DType::F16,
    DType::BF16,
    DType::F64,
    DType::I8,
    DType::I16,
    DType::I32,
    DType::I64,
    DType::U8,
    DType::BOOL,
];

fn create(path: &Path, infos: &[TensorInfo]) -> Result<Box<dyn TensorSink>> {
    let header = ModelHeader { metadata: &Metadata::default(), tensors: infos };
    Torch.create(AtomicFile::create(path, true)?, &header)
}

fn infos(tensors: &Tensors) -> Vec<TensorInfo> {
    tensors.iter().map(|(info, _)| info.clone()).collect()
}

/// Writes each tensor at once, in order.
fn write(path: &Path, tensors: &Tensors) -> Result<()> {
    let sink = create(path, &infos(tensors))?;
    for (position, (_, bytes)) in tensors.iter().enumerate() {
        sink.write(position, 0, bytes)?;
    }
    sink.finish()
}

fn pattern(info: &TensorInfo, seed: u8) -> Vec<u8> {
    let byte = |i: u64| (i as u8).wrapping_mul(31) ^ (i >> 8) as u8 ^ seed;
    let bytes = (0..info.n_bytes()).map(byte);
    // Of a boolean only 0 and 1 are values.
    bytes.map(|byte| if info.dtype == DType::BOOL { byte & 1 } else { byte }).collect()
}

/// One tensor of every type, and some odd shapes.
fn model() -> Tensors {
    let mut infos: Vec<TensorInfo> =
        DTYPES.iter().map(|&dtype| TensorInfo::new(dtype.name(), dtype, [7, 300])).collect();
    infos.push(TensorInfo::new("scalar", DType::F32, []));
    infos.push(TensorInfo::new("empty", DType::F16, [2, 0, 3]));
    infos.push(TensorInfo::new("größer", DType::BF16, [1, 70_000, 2, 1]));
    infos.into_iter().enumerate().map(|(i, info)| (info.clone(), pattern(&info, i as u8))).collect()
}

fn assert_reads_back(file: &[u8], tensors: &Tensors) {
    let checkpoint = open(file.to_vec()).unwrap();
    assert_eq!(checkpoint.format(), "PyTorch zip");
    assert_eq!(checkpoint.tensors(), infos(tensors));
    for (info, bytes) in tensors {
        assert_eq!(&bytes_of(&*checkpoint, &info.name), bytes, "{}", info.name);
        assert_eq!(checkpoint.alias_of(&info.name), None);
    }
}

#[test]
fn slabs_in_any_order_from_any_number_of_threads_give_the_same_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.bin");
    let tensors = model();
    write(&path, &tensors).unwrap();
    let expected = std::fs::read(&path).unwrap();
    assert_reads_back(&expected, &tensors);

    for n_threads in [1, 2, 8] {
        let mut slabs: Vec<(usize, usize, &[u8])> = Vec::new();
        for (position, (_, bytes)) in tensors.iter().enumerate() {
            let chunks = bytes.chunks(997).enumerate();
            slabs.extend(chunks.map(|(i, slab)| (position, i * 997, slab)));
        }
        let mut rng = Rng::new(n_threads as u64);
        for i in (1..slabs.len()).rev() {
            slabs.swap(i, rng.below(i + 1));
        }
        let sink = create(&path, &infos(&tensors)).unwrap();
        std::thread::scope(|scope| {
            for part in slabs.chunks(slabs.len().div_ceil(n_threads)) {
                let sink = &sink;
                scope.spawn(move || {
                    for &(tensor, offset, slab) in part {
                        sink.write(tensor, offset as u64, slab).unwrap();
                    }
                });
            }
        });
        sink.finish().unwrap();
        assert!(std::fs::read(&path).unwrap() == expected, "{n_threads} threads");
    }
}

#[test]
fn members_are_as_torch_names_and_aligns_them_and_their_checksums_are_right() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pytorch_model-00001-of-00002.bin");
    let tensors = model();
    write(&path, &tensors).unwrap();
    let file = std::fs::read(&path).unwrap();
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(&file)).unwrap();

    let storages = (0..tensors.len()).map(|number| format!("data/{number}"));
    let mut members = vec!["data.pkl".to_string(), "byteorder".into()];
    members.extend(storages);
    members.push("version".into());
    assert_eq!(zip.len(), members.len());
    for (number, name) in members.iter().enumerate() {
        let mut member = zip.by_index(number).unwrap();
        assert_eq!(member.name().unwrap(), format!("pytorch_model-00001-of-00002/{name}"));
        assert_eq!(member.compression(), zip::CompressionMethod::Stored);
        assert_eq!(member.data_start().unwrap() % 64, 0);
        // The header in front of the data says the same as the directory.
        let local = &file[member.header_start() as usize..];
        assert_eq!(local[14..18], member.crc32().to_le_bytes());
        // Reading to the end compares the checksum.
        let mut bytes = Vec::new();
        member.read_to_end(&mut bytes).unwrap();
        match name.as_str() {
            "byteorder" => assert_eq!(bytes, b"little"),
            "version" => assert_eq!(bytes, b"3\n"),
            "data.pkl" => assert!(bytes.starts_with(b"\x80\x02ccollections\nOrderedDict\n")),
            _ => assert_eq!(bytes, tensors[number - 2].1),
        }
    }
}

#[test]
fn python_finds_no_fault_with_the_archive() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.bin");
    write(&path, &model()).unwrap();
    match Command::new("python3").args(["-m", "zipfile", "-t"]).arg(&path).output() {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{said}");
            assert!(!said.contains("corrupted"), "{said}");
        }
        Err(error) => {
            // Past the test runner, which hides what passing tests print.
            let remark = format!("SKIPPED: the archive is not shown to Python: python3: {error}\n");
            std::io::stderr().write_all(remark.as_bytes()).unwrap();
        }
    }
}

#[test]
fn an_unfinished_file_never_appears() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.bin");
    let infos = [TensorInfo::new("a", DType::F32, [4])];
    let sink = create(&path, &infos).unwrap();
    sink.write(0, 0, &[0; 4]).unwrap();
    sink.write(0, 8, &[0; 8]).unwrap();
    assert!(sink.finish().unwrap_err().to_string().contains("4 of 16 bytes of tensor a"));
    drop(create(&path, &infos).unwrap());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
#[should_panic(expected = "no byte of tensor a was written twice")]
fn a_slab_over_another_has_no_checksum() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.bin");
    let sink = create(&path, &[TensorInfo::new("a", DType::U8, [4])]).unwrap();
    sink.write(0, 0, &[0; 3]).unwrap();
    sink.write(0, 2, &[0; 2]).unwrap();
    let _ = sink.finish();
}

#[test]
fn models_that_pytorch_cannot_hold_are_refused_before_anything_is_written() {
    let vector = |name: &str, dtype| TensorInfo::new(name, dtype, [32]);
    let cases: [(&str, Vec<TensorInfo>); 8] = [
        ("tensor a occurs twice", vec![vector("a", DType::F32), vector("a", DType::F32)]),
        ("dequantize it or write GGUF", vec![vector("a", DType::Q4_0)]),
        ("dequantize it or write GGUF", vec![vector("a", DType::Q4_0_V0)]),
        ("convert it or write safetensors", vec![vector("a", DType::F8_E4M3)]),
        ("a name of 513 bytes", vec![vector(&"n".repeat(513), DType::F32)]),
        ("9 dimensions", vec![TensorInfo::new("a", DType::F32, [1; 9])]),
        ("more elements", vec![TensorInfo::new("a", DType::F32, [usize::MAX >> 1, 4])]),
        ("larger than any file", vec![TensorInfo::new("a", DType::F32, [usize::MAX >> 2, 2])]),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (words, tensors) in cases {
        let path = folder.path().join("model.bin");
        let message = create(&path, &tensors).err().expect(words).to_string();
        assert!(message.contains(words), "{words}: {message}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn reads_what_it_wrote(
        tensors in vec(
            (".{0,8}", prop::sample::select(&DTYPES), vec(0usize..4, 0..5), any::<u8>()),
            1..8,
        ),
    ) {
        let build = |(number, (name, dtype, dims, seed)): (usize, (String, DType, Vec<usize>, u8))| {
            let info = TensorInfo::new(format!("{name}{number}"), dtype, Shape::new(dims));
            let bytes = pattern(&info, seed);
            (info, bytes)
        };
        let tensors: Tensors = tensors.into_iter().enumerate().map(build).collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.bin");
        write(&path, &tensors).unwrap();
        assert_reads_back(&std::fs::read(&path).unwrap(), &tensors);
    }
}
