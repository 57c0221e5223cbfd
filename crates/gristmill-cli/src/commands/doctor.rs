//! `doctor`: what this machine can do, what gristmill makes of it, and what is in the way.

mod advice;
mod machine;

use gristmill::kernels::roofline::Arithmetic;
use gristmill::kernels::{Level, Team, level};
use gristmill::quant::CODECS;
use gristmill::tensor::DType;
use serde_json::json;

use crate::args::Doctor;
use crate::exit::Result;
use crate::human;
use crate::limits::memory_to_read;
use crate::output::say;
use machine::Machine;

pub(crate) use machine::{cpu_model, read_bytes};

/// What the machine reached, per second.
struct Speeds {
    /// Bytes read by one thread, and by all.
    read: [f64; 2],
    /// Operations by all threads.
    compute: Vec<(Arithmetic, f64)>,
}

/// Looks, measures, and says what is wrong.
pub(crate) fn run(args: Doctor) -> Result {
    let machine = Machine::look();
    let n_threads = args.threads.unwrap_or(machine.cores.threads()).max(1);
    let speeds = measure(n_threads)?;
    let advice = advice::advice(&machine, &speeds, n_threads);
    if args.json {
        print_json(&machine, &speeds, n_threads, &advice);
    } else {
        print(&machine, &speeds, n_threads, &advice);
    }
    Ok(())
}

fn measure(n_threads: usize) -> Result<Speeds> {
    let (team, memory) = (Team::new(n_threads), memory_to_read(n_threads)?);
    let has_bf16 = Arithmetic::of(DType::BF16, usize::MAX) == Some(Arithmetic::Bf16);
    let kinds = [Arithmetic::Int8, Arithmetic::Bf16, Arithmetic::Int16, Arithmetic::F32];
    let kinds = kinds.into_iter().filter(|&kind| kind != Arithmetic::Bf16 || has_bf16);
    Ok(Speeds {
        read: [memory.read_bandwidth(&Team::new(1)), memory.read_bandwidth(&team)],
        compute: kinds.map(|arithmetic| (arithmetic, arithmetic.peak(&team))).collect(),
    })
}

/// The types of weights, by the arithmetic in which they are multiplied with one token and with several.
fn types_by_arithmetic() -> Vec<(String, Vec<&'static str>)> {
    let mut list: Vec<(String, Vec<&'static str>)> = Vec::new();
    for codec in CODECS {
        let of = |n_tokens| Arithmetic::of(codec.dtype, n_tokens).map(Arithmetic::name);
        let (Some(one), Some(many)) = (of(1), of(usize::MAX)) else { continue };
        let arithmetic = if one == many { one.into() } else { format!("{one}/{many}") };
        match list.iter_mut().find(|(name, _)| *name == arithmetic) {
            Some((_, types)) => types.push(codec.dtype.name()),
            None => list.push((arithmetic, vec![codec.dtype.name()])),
        }
    }
    list
}

fn names(levels: impl Iterator<Item = Level>) -> String {
    levels.map(Level::name).collect::<Vec<_>>().join(", ")
}

fn print(machine: &Machine, speeds: &Speeds, n_threads: usize, advice: &[String]) {
    let line = |label: &str, text: String| say!("{label:<12} {text}");
    let cores = &machine.cores;
    line("cpu", machine.cpu.clone());
    let others = names(Level::available().iter().copied().filter(|&other| other != level()));
    line("simd", format!("{} (also available: {others})", level().name()));
    let mut text = format!("{} physical, {} logical", cores.physical, cores.logical);
    if cores.performance < cores.physical {
        text += &format!(", {} of them fast", cores.performance);
    }
    if let Some(quota) = cores.quota {
        text += &format!(", within a quota of {quota:.2}");
    }
    line("cores", text);
    let caches =
        machine.caches.iter().map(|cache| format!("{} {}", cache.name, binary(cache.bytes)));
    line("caches", caches.collect::<Vec<_>>().join(", "));
    if let Some([total, available]) = machine.memory {
        let (total, available) = (human::bytes(total), human::bytes(available));
        line("memory", format!("{total}, {available} of it available"));
    }
    if let Some(setting) = &machine.huge_pages {
        line("huge pages", setting.clone());
    }
    let [one, all] = speeds.read.map(|rate| format!("{:.1} GB/s", rate / 1e9));
    line("reads", format!("{one} with one thread, {all} with {n_threads}"));
    let compute: Vec<String> = speeds
        .compute
        .iter()
        .map(|(arithmetic, rate)| format!("{:.0} GOP/s in {}", rate / 1e9, arithmetic.name()))
        .collect();
    line("computes", format!("{}, with {n_threads}", compute.join(", ")));
    line("threads", format!("{n_threads}"));
    for (arithmetic, types) in types_by_arithmetic() {
        let which = if arithmetic.contains('/') { " (with one token/with several)" } else { "" };
        line(&format!("in {arithmetic}"), types.join(" ") + which);
    }
    say!();
    for problem in advice {
        say!("! {problem}");
    }
    if advice.is_empty() {
        say!("nothing is in the way");
    }
}

/// `32 MiB`, as sizes of caches are given.
fn binary(bytes: u64) -> String {
    if bytes < 1 << 20 { format!("{} KiB", bytes >> 10) } else { format!("{} MiB", bytes >> 20) }
}

fn print_json(machine: &Machine, speeds: &Speeds, n_threads: usize, advice: &[String]) {
    let caches: Vec<_> = machine
        .caches
        .iter()
        .map(|cache| json!({ "name": cache.name, "bytes": cache.bytes }))
        .collect();
    let types: serde_json::Map<_, _> =
        types_by_arithmetic().into_iter().map(|(name, types)| (name, json!(types))).collect();
    let compute: serde_json::Map<_, _> = speeds
        .compute
        .iter()
        .map(|(arithmetic, rate)| (arithmetic.name().into(), json!(rate)))
        .collect();
    say!(
        "{}",
        json!({
            "cpu": machine.cpu,
            "simd": level().name(),
            "simd_available": Level::available().iter().map(|level| level.name()).collect::<Vec<_>>(),
            "cores": {
                "logical": machine.cores.logical,
                "physical": machine.cores.physical,
                "performance": machine.cores.performance,
                "quota": machine.cores.quota,
            },
            "caches": caches,
            "memory": machine.memory.map(|[total, _]| total),
            "memory_available": machine.memory.map(|[_, available]| available),
            "huge_pages": machine.huge_pages,
            "read_bytes_per_second": { "one_thread": speeds.read[0], "all_threads": speeds.read[1] },
            "operations_per_second": compute,
            "threads": n_threads,
            "types": types,
            "advice": advice,
        })
    );
}
