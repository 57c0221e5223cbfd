//! Writing what other programs read: every architecture into every container that was defined for it, in every type
//! and version of the block layouts, and back.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::thread;

use gristmill::Target;
use gristmill::arch::{ARCHITECTURES, Architecture};
use gristmill::convert::{ConvertOptions, OutType, Report};
use gristmill::tensor::{Checkpoint, Container};
use gristmill_testkit::{Options, oracle, tiny};

fn options(outtype: OutType, quant_version: u32) -> ConvertOptions {
    ConvertOptions { outtype, quant_version, force: true, ..ConvertOptions::default() }
}

fn convert(
    source: &Path,
    target: Target,
    output: &Path,
    options: &ConvertOptions,
) -> gristmill::Result<Report> {
    let opened = gristmill::open(source)?;
    opened.convert_to(target, output, options, &mut |_| ControlFlow::Continue(()))
}

/// The containers that were defined for an architecture.
fn targets(arch: &dyn Architecture) -> Vec<Target> {
    let all = [
        (Target::Ggml, Container::Ggml),
        (Target::Ggmf, Container::Ggmf),
        (Target::Ggjt, Container::Ggjt),
        (Target::Ggmm, Container::Ggmm),
    ];
    let known = |container: &Container| {
        arch.ggml_headers().iter().any(|layout| layout.containers.contains(container))
    };
    all.into_iter().filter(|(_, container)| known(container)).map(|(target, _)| target).collect()
}

/// A tiny model as its publisher would upload it. The width of its feed-forward layer is one that LLaMA's old header
/// can express.
fn publish(arch: &str, folder: &Path) {
    tiny(arch, &Options { n_ff: 96, ..Options::default() }).save(folder).unwrap();
}

fn tensors(path: &Path) -> Vec<(String, gristmill::tensor::DType, Vec<u8>)> {
    let opened = gristmill::open(path).unwrap();
    let checkpoint = opened.checkpoint();
    let mut tensors: Vec<_> = (checkpoint.tensors().iter())
        .map(|info| {
            let bytes = checkpoint.tensor(&info.name).unwrap().bytes.to_vec();
            (info.name.clone(), info.dtype, bytes)
        })
        .collect();
    tensors.sort();
    tensors
}

const TYPES: [OutType; 7] = [
    OutType::F32,
    OutType::F16,
    OutType::Q4_0,
    OutType::Q4_1,
    OutType::Q5_0,
    OutType::Q5_1,
    OutType::Q8_0,
];

#[test]
fn every_architecture_goes_through_every_container_in_every_type_and_back() {
    let n_files: usize = thread::scope(|scope| {
        let threads: Vec<_> =
            ARCHITECTURES.iter().map(|arch| scope.spawn(|| there_and_back(*arch))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert!(n_files > 200, "{n_files}");
}

/// How many files it made, each of another container, type or version.
fn there_and_back(arch: &dyn Architecture) -> usize {
    let mut n_files = 0;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let published = path("published");
    fs::create_dir(&published).unwrap();
    publish(arch.name(), &published);
    for target in targets(arch) {
        for outtype in TYPES {
            for version in [0, 1, 2] {
                let only_oldest = matches!(target, Target::Ggmf | Target::Ggmm);
                // The first quantizer for MPT in GGML is of the time of version 1.
                let never = arch.name() == "mpt" && target == Target::Ggml && version == 0;
                if only_oldest && version != 0 || never {
                    continue;
                }
                let what = format!("{} {} {outtype} version {version}", arch.name(), target.name());
                let (old, new) = (path("old.bin"), path("new.gguf"));
                convert(&published, target, &old, &options(outtype, version))
                    .unwrap_or_else(|error| panic!("{what}: {error}"));
                let opened =
                    gristmill::open(&old).unwrap_or_else(|error| panic!("{what}: {error}"));
                assert_eq!(
                    opened.metadata().get_str("general.architecture").unwrap(),
                    Some(arch.name()),
                    "{what}"
                );
                assert!(opened.program().is_ok(), "{what}");

                // Forward to GGUF and back again: the weights are the same, and so is the file but for scales of
                // single precision, which GGUF rounds once.
                convert(&old, Target::Gguf, &new, &options(OutType::COPY, 2))
                    .unwrap_or_else(|error| panic!("{what}: {error}"));
                let again = path("again.bin");
                convert(&new, target, &again, &options(OutType::COPY, version))
                    .unwrap_or_else(|error| panic!("{what}: {error}"));
                if version == 2 {
                    assert!(tensors(&old) == tensors(&again), "{what}");
                } else {
                    let newer = path("newer.gguf");
                    convert(&again, Target::Gguf, &newer, &options(OutType::COPY, 2))
                        .unwrap_or_else(|error| panic!("{what}: {error}"));
                    assert!(tensors(&new) == tensors(&newer), "{what}");
                }
                n_files += 1;
            }
        }
    }
    n_files
}

#[test]
fn neither_threads_nor_budget_show_in_a_legacy_file() {
    for arch in ARCHITECTURES {
        let folder = tempfile::tempdir().unwrap();
        publish(arch.name(), folder.path());
        for target in targets(*arch) {
            let written = |threads, memory| {
                let output = folder.path().join("out.bin");
                // The oldest version that all can tell but MPT in GGML, whose first is the next.
                let version = (arch.name() == "mpt" && target == Target::Ggml).into();
                let options = ConvertOptions { threads, memory, ..options(OutType::Q5_1, version) };
                convert(folder.path(), target, &output, &options).unwrap();
                let bytes = fs::read(&output).unwrap();
                fs::remove_file(output).unwrap();
                bytes
            };
            let expected = written(1, 1 << 30);
            for (threads, memory) in [(2, 1 << 20), (8, 1 << 30), (3, 40_000)] {
                assert!(written(threads, memory) == expected, "{} {threads}", arch.name());
            }
        }
    }
}

/// GGJT v3 → GGUF → GGJT v3, files of llama.cpp's own making.
#[test]
fn files_of_llama_cpp_come_back_tensor_for_tensor() {
    let Some(oracle) = oracle("GGJT v3 there and back") else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut n_files = 0;
    for model in ["llama-mha", "llama-k", "micro-llama"] {
        for file in fs::read_dir(oracle.join("legacy").join(model)).unwrap() {
            let old = file.unwrap().path();
            if !old.to_string_lossy().contains("-v3-") {
                continue;
            }
            let (new, back) = (folder.path().join("new.gguf"), folder.path().join("back.bin"));
            convert(&old, Target::Gguf, &new, &options(OutType::COPY, 2)).unwrap();
            convert(&new, Target::Ggjt, &back, &options(OutType::COPY, 2)).unwrap();
            assert!(tensors(&old) == tensors(&back), "{}", old.display());
            n_files += 1;
        }
    }
    assert!(n_files >= 6, "{n_files}");
}

#[test]
fn matrices_that_cannot_have_the_common_type_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let options_of_tiny = Options { n_embd: 48, n_head: 4, ..Options::default() };
    tiny("gptj", &options_of_tiny).save(folder.path()).unwrap();
    let output = folder.path().join("out.bin");
    let error = convert(folder.path(), Target::Ggml, &output, &options(OutType::Q4_0, 2));
    let message = error.unwrap_err().to_string();
    assert!(message.contains("rows of 48") && message.contains("f16"), "{message}");
    convert(folder.path(), Target::Ggml, &output, &options(OutType::F16, 2)).unwrap();
}

#[test]
fn what_a_container_cannot_hold_is_refused_before_anything_is_written() {
    for (arch, target, outtype, version, word) in [
        ("gptj", Target::Ggmf, OutType::F16, 2, "gptj"),
        ("gptj", Target::Ggmm, OutType::F16, 2, "gptj"),
        ("gptj", Target::Ggml, OutType::BF16, 0, "bf16"),
        ("mpt", Target::Ggmm, OutType::Q4_0, 2, "--quant-version 0"),
        ("mpt", Target::Ggml, OutType::Q4_0, 0, "--quant-version 1"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        publish(arch, folder.path());
        let output = folder.path().join("out.bin");
        let error = convert(folder.path(), target, &output, &options(outtype, version));
        let message = error.unwrap_err().to_string();
        assert!(message.to_lowercase().contains(word), "{message}");
        assert!(!output.exists());
    }
}
