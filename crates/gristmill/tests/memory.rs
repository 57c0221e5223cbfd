//! The memory budget, counted: all heap memory that a conversion holds at once.
//!
//! A test of its own, since it replaces the allocator of the whole program.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(unsafe_code, reason = "an allocator is unsafe by its trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use gristmill::convert::{ConvertOptions, OutType};
use gristmill::tensor::DType;
use gristmill_testkit::{Options, tiny};

/// The system's allocator, counting.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is handed to the system's allocator unchanged, and counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let in_use = IN_USE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(in_use, Ordering::Relaxed);
        // SAFETY: the caller's promises about `layout` are the ones that `System` wants.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: `pointer` came from `System` with this `layout`, as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const MIB: usize = 1 << 20;

/// What a conversion may hold besides tensor data: headers, vocabulary, bookkeeping.
const OVERHEAD: usize = 3 * MIB;

#[test]
fn a_conversion_never_holds_more_than_its_budget() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
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
    assert!(size > 12 * MIB, "{size}");

    for (memory, threads) in [(MIB / 2, 1), (2 * MIB, 1), (2 * MIB, 8), (8 * MIB, 2)] {
        for outtype in [OutType::F16, OutType::F32, OutType::Q4_0] {
            let output = folder.join("out.gguf");
            let options = ConvertOptions {
                outtype,
                memory: memory as u64,
                threads,
                force: true,
                ..ConvertOptions::default()
            };
            let before = IN_USE.load(Ordering::Relaxed);
            PEAK.store(before, Ordering::Relaxed);
            gristmill::convert(folder, &output, &options).unwrap();
            let peak = PEAK.load(Ordering::Relaxed) - before;
            let allowed = memory + OVERHEAD;
            assert!(
                peak <= allowed,
                "{arch}, {outtype}, {threads} threads: {peak} bytes of {allowed}"
            );
        }
    }
}
