//! The memory budget, counted: all heap memory that a conversion holds at once.
//!
//! A test of its own, since it replaces the allocator of the whole program.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ops::ControlFlow;
use std::path::Path;

use gristmill::convert::{ConvertOptions, OutType};
use gristmill::tensor::{Access, DType};
use gristmill::{OpenOptions, Target};
use gristmill_testkit::heap::{Counting, peak};
use gristmill_testkit::{Options, tiny};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const MIB: usize = 1 << 20;

/// What a conversion may hold besides tensor data: headers, vocabulary, bookkeeping.
const OVERHEAD: usize = 3 * MIB;

#[test]
fn a_conversion_never_holds_more_than_its_budget() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        n_layer: 1,
        n_embd: 512,
        n_head: 8,
        n_head_kv: 8,
        n_ff: 2048,
        dtype: DType::F16,
        ..Options::default()
    };
    // Rows that move, and rows that are columns.
    for arch in ["llama", "gpt2"] {
        convert_within_every_budget(arch, &options, folder.path());
    }
}

fn convert_within_every_budget(arch: &str, options: &Options, folder: &Path) {
    tiny(arch, options).save(folder).unwrap();
    let size = std::fs::metadata(folder.join("model.safetensors")).unwrap().len() as usize;
    assert!(size > 5 * MIB, "{size}");

    for (memory, threads) in [(MIB / 2, 1), (2 * MIB, 1), (2 * MIB, 8), (4 * MIB, 2)] {
        for outtype in [OutType::F16, OutType::F32, OutType::Q4_0] {
            let options = within(outtype, 2, memory, threads);
            measure(folder, Target::Gguf, &folder.join("out.gguf"), &options);
        }
        // Through a file of early 2023, whose blocks are transcoded, back to a folder for Transformers.
        let (old, new) = (folder.join("old.bin"), folder.join("new.gguf"));
        let (legacy, steps) = match arch {
            "llama" => (Target::Ggjt, [OutType::Q4_0, OutType::COPY, OutType::F32]),
            _ => (Target::Ggml, [OutType::Q8_0, OutType::COPY, OutType::F16]),
        };
        measure(folder, legacy, &old, &within(steps[0], 0, memory, threads));
        measure(&old, Target::Gguf, &new, &within(steps[1], 2, memory, threads));
        let output = tempfile::tempdir().unwrap();
        let output = output.path().join("hf");
        measure(&new, Target::Safetensors, &output, &within(steps[2], 2, memory, threads));
    }
}

fn within(outtype: OutType, quant_version: u32, memory: usize, threads: usize) -> ConvertOptions {
    let memory = memory as u64;
    let force = true;
    ConvertOptions { outtype, quant_version, memory, threads, force, ..ConvertOptions::default() }
}

/// Converts and compares the most memory in use with the budget.
fn measure(source: &Path, target: Target, output: &Path, options: &ConvertOptions) {
    let peak = peak(|| {
        let opening = OpenOptions { access: Access::Read, ..OpenOptions::default() };
        let opened = gristmill::open_with(source, &opening).unwrap();
        opened.convert_to(target, output, options, &mut |_| ControlFlow::Continue(())).unwrap();
    });
    let allowed = options.memory as usize + OVERHEAD;
    let (name, outtype, threads) = (target.name(), options.outtype, options.threads);
    assert!(
        peak <= allowed,
        "{} to {name}, {outtype}, {threads} threads: {peak} bytes of {allowed}",
        source.display()
    );
}
