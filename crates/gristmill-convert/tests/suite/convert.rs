//! Model file in, model file out: bytes, budgets, refusals.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use gristmill_convert::{ConvertOptions, Error, Event, Note, OutType, Report, Result, convert};
use gristmill_gguf::{Gguf, Reader};
use gristmill_tensor::{Checkpoint, DType, Error as FileError, Metadata, Shape, TensorInfo, keys};
use gristmill_testkit::{MemoryCheckpoint, Rng};

/// A model of an architecture that the house does not know, with all kinds of tensors.
fn model(dtype: DType) -> MemoryCheckpoint {
    let mut metadata = Metadata::new("test");
    metadata.set(keys::ARCHITECTURE, "unheard-of");
    metadata.set(keys::NAME, "a model");
    let mut rng = Rng::new(7);
    let tensors = [
        ("token_embd.weight", vec![70, 96]),
        ("blk.0.attn_norm.weight", vec![96]),
        ("blk.0.attn_q.weight", vec![96, 96]),
        ("blk.0.attn_q.bias", vec![96]),
        ("blk.0.ffn_down.weight", vec![96, 40]),
        ("blk.0.ffn_up_exps.weight", vec![3, 50, 96]),
        ("output.weight", vec![70, 96]),
    ]
    .map(|(name, shape)| {
        let info = TensorInfo::new(name, dtype, Shape::new(shape));
        let values = rng.normals(info.shape.numel(), 1.0);
        let mut bytes = vec![0; info.n_bytes() as usize];
        (gristmill_quant::codec(dtype).unwrap().quantize.unwrap())(&values, &mut bytes);
        (info, bytes)
    });
    MemoryCheckpoint::new("test", metadata, tensors)
}

fn run(source: &dyn Checkpoint, output: &Path, options: &ConvertOptions) -> Result<Report> {
    convert(source, &Gguf, output, options, &mut |_| ControlFlow::Continue(()))
}

fn to(outtype: OutType) -> ConvertOptions {
    ConvertOptions { outtype, ..ConvertOptions::default() }
}

fn values(tensor: &gristmill_tensor::Tensor) -> Vec<f32> {
    let mut values = vec![0.0; tensor.info.shape.numel()];
    (gristmill_quant::codec(tensor.info.dtype).unwrap().dequantize)(&tensor.bytes, &mut values);
    values
}

#[test]
fn every_type_is_quantized_as_its_codec_does_it() {
    let folder = tempfile::tempdir().unwrap();
    for from in [DType::F32, DType::F16, DType::BF16] {
        let source = model(from);
        for &outtype in OutType::ALL {
            let output = folder.path().join(format!("{from}-{outtype}.gguf"));
            let report = run(&source, &output, &to(outtype)).unwrap();
            assert_eq!(report.tallies.iter().map(|tally| tally.tensors).sum::<usize>(), 7);
            let written = Reader::open(&output).unwrap();
            assert_eq!(written.metadata().get_u32(keys::FILE_TYPE).unwrap(), outtype.file_type());
            for info in source.tensors() {
                let tensor = written.tensor(&info.name).unwrap();
                let mut expected = vec![0; tensor.bytes.len()];
                let values = values(&source.tensor(&info.name).unwrap());
                let codec = gristmill_quant::codec(tensor.info.dtype).unwrap();
                (codec.quantize.unwrap())(&values, &mut expected);
                assert_eq!(*tensor.bytes, expected, "{} as {}", info.name, tensor.info.dtype);
            }
        }
    }
}

#[test]
fn bytes_depend_on_neither_threads_nor_memory() {
    let folder = tempfile::tempdir().unwrap();
    let source = model(DType::F16);
    let mut files = Vec::new();
    for memory in [2000, 10_000, 32 << 20, 1 << 30] {
        for threads in [0, 1, 2, 8] {
            let output = folder.path().join(format!("{memory}-{threads}.gguf"));
            let options = ConvertOptions { memory, threads, ..to(OutType::Q5_1) };
            run(&source, &output, &options).unwrap();
            files.push(fs::read(&output).unwrap());
        }
    }
    assert!(files.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn rows_that_are_not_whole_blocks_become_f16_and_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let report = run(&model(DType::F32), &folder.path().join("x"), &to(OutType::Q4_0)).unwrap();
    let note = Note::RowNotWholeBlocks {
        tensor: "blk.0.ffn_down.weight".into(),
        row_len: 40,
        wanted: DType::Q4_0,
        stored: DType::F16,
    };
    assert!(report.notes.contains(&note), "{:?}", report.notes);
    assert!(report.notes.contains(&Note::NoVocabulary));
    assert_eq!((report.lossless, report.tensors), (2, 7), "norm and bias stay F32");
}

#[test]
fn a_folder_is_given_a_file_named_by_the_convention() {
    let folder = tempfile::tempdir().unwrap();
    let report = run(&model(DType::F32), folder.path(), &to(OutType::Q8_0)).unwrap();
    assert_eq!(report.output, folder.path().join("a-model-41K-Q8_0.gguf"));
    assert!(report.output.is_file());
}

#[test]
fn what_is_quantized_is_copied_or_refused_or_done_again_on_demand() {
    let folder = tempfile::tempdir().unwrap();
    let first = folder.path().join("q8_0.gguf");
    run(&model(DType::F32), &first, &to(OutType::Q8_0)).unwrap();
    let source = Reader::open(&first).unwrap();

    let second = folder.path().join("again.gguf");
    run(&source, &second, &to(OutType::Q8_0)).unwrap();
    assert_eq!(fs::read(&first).unwrap(), fs::read(&second).unwrap());

    let third = folder.path().join("q4_0.gguf");
    let error = run(&source, &third, &to(OutType::Q4_0)).unwrap_err();
    assert!(matches!(error, Error::Requantize { .. }) && !third.exists(), "{error}");
    let options = ConvertOptions { allow_requantize: true, ..to(OutType::Q4_0) };
    run(&source, &third, &options).unwrap();

    // Back to floats is no second quantization.
    run(&source, &folder.path().join("f16.gguf"), &to(OutType::F16)).unwrap();
}

fn with_value(row: usize, column: usize, value: f32) -> MemoryCheckpoint {
    let mut tensors = model(DType::F32).into_tensors();
    let (info, bytes) =
        tensors.iter_mut().find(|(info, _)| info.name == "blk.0.attn_q.weight").unwrap();
    let at = 4 * (row * info.shape.row_len() + column);
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    let mut metadata = Metadata::new("test");
    metadata.set(keys::ARCHITECTURE, "unheard-of");
    MemoryCheckpoint::new("test", metadata, tensors)
}

#[test]
fn weights_that_are_no_numbers_are_refused_by_tensor_row_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("x.gguf");
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let source = with_value(95, 31, value);
        for memory in [4000, 1 << 20] {
            let options = ConvertOptions { memory, ..to(OutType::Q4_0) };
            let error = run(&source, &output, &options).unwrap_err().to_string();
            let place = format!("tensor blk.0.attn_q.weight: row 95, column 31 is {value}");
            assert!(error.contains(&place), "{error}");
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        }
        run(&source, &output, &to(OutType::F32)).unwrap();
        fs::remove_file(&output).unwrap();
    }
}

#[test]
fn weights_too_large_for_half_precision_are_refused_with_the_cure() {
    let folder = tempfile::tempdir().unwrap();
    let source = with_value(0, 5, -65520.0);
    let error = run(&source, &folder.path().join("a"), &to(OutType::F16)).unwrap_err();
    assert!(
        matches!(error, Error::Overflow { row: 0, column: 5, target: DType::F16, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("bf16"), "{error}");
    run(&source, &folder.path().join("b"), &to(OutType::BF16)).unwrap();
}

#[test]
fn an_existing_output_stays_without_force() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("x.gguf");
    fs::write(&output, b"precious").unwrap();
    let error = run(&model(DType::F32), &output, &to(OutType::F16)).unwrap_err();
    assert!(matches!(error, Error::File(FileError::Exists { .. })), "{error}");
    assert_eq!(fs::read(&output).unwrap(), b"precious");
    let options = ConvertOptions { force: true, ..to(OutType::F16) };
    run(&model(DType::F32), &output, &options).unwrap();
    Reader::open(&output).unwrap();
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("no/such/folder/x.gguf");
    let error = run(&model(DType::F32), &output, &to(OutType::F16)).unwrap_err();
    assert!(error.to_string().contains("no/such/folder"), "{error}");
}

#[test]
fn a_budget_too_small_for_one_row_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let options = ConvertOptions { memory: 100, ..to(OutType::Q8_0) };
    let error = run(&model(DType::F32), &folder.path().join("x"), &options).unwrap_err();
    assert!(matches!(error, Error::Memory { budget: 100, .. }), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn progress_counts_to_the_end_and_can_stop_the_work() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("x.gguf");
    let source = model(DType::F32);
    let options = ConvertOptions { memory: 20_000, threads: 2, ..to(OutType::Q8_0) };
    let (mut planned, mut last) = (0, (0, 1));
    let report = convert(&source, &Gguf, &output, &options, &mut |event| {
        match event {
            Event::Planned(plan) => planned += plan.tensors.len(),
            Event::Written { written, total, .. } => last = (written, total),
            _ => {}
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!((planned, last), (7, (report.bytes_out, report.bytes_out)));

    let options = ConvertOptions { force: true, ..options };
    let before = fs::read(&output).unwrap();
    for stop_at in [0, 1, 5] {
        let mut events = 0;
        let error = convert(&source, &Gguf, &output, &options, &mut |_| {
            events += 1;
            if events > stop_at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap_err();
        assert!(matches!(error, Error::File(FileError::Interrupted)), "{error}");
        assert_eq!(events, stop_at + 1, "no events after the stop");
        assert_eq!(fs::read(&output).unwrap(), before);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
