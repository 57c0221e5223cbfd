//! The work: rows are read, converted and written by several workers at once, each with a slab of its own.
//!
//! ```text
//!            ┌─ worker ─ read ─▶ f32 ─▶ quantize ─▶ write ─┐
//! slabs ─────┼─ worker ─ read ─▶ f32 ─▶ quantize ─▶ write ─┼──▶ events, to the calling thread
//!            └─ worker ─ read ──────────────────▶ write ─┘          (same type: bytes are copied)
//! ```
//!
//! Workers take slabs in the order of the file. After a failure no further slab is begun but every earlier one is
//! completed, and of several failures the one that stands first in the file is reported: always the same one.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

use gristmill_quant::{Codec, ErrorStats, overflows_f16, unfit_for_blocks};
use gristmill_tensor::{
    AtomicFile, Checkpoint, DType, Format, ModelHeader, TensorInfo, TensorSink,
};

use crate::plan::{Plan, PlannedTensor, Step};
use crate::slab::{Slab, Slabs};
use crate::{ConvertOptions, Error, Event, Report, Result};

/// Converts `source` into a new file of `format` at `output`. When `output` is a folder, the file is put into it under
/// the name that [`Plan::file_stem`] gives.
///
/// `source` answers in the house's names: a GGUF file, or any other checkpoint behind a
/// [`Canonical`](crate::Canonical). It should read from files, not from a memory map, or what was read stays
/// resident. `progress` runs on the calling thread and may stop the work.
///
/// The bytes written depend on neither [`threads`](ConvertOptions::threads) nor [`memory`](ConvertOptions::memory).
///
/// # Errors
/// Whatever [`Plan::new`] refuses; [`Error::NotFinite`] and [`Error::Overflow`] for weights that the wanted type
/// cannot hold; [`Error::File`] for files, and when `progress` stops the work. The output then does not exist.
pub fn convert(
    source: &dyn Checkpoint,
    format: &dyn Format,
    output: &Path,
    options: &ConvertOptions,
    progress: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
) -> Result<Report> {
    let mut target = PathBuf::new();
    let mut begin = |plan: &Plan, header: &ModelHeader<'_>| {
        target = match output.is_dir() {
            true => output.join(format!("{}.{}", plan.file_stem(), format.suffix())),
            false => output.to_path_buf(),
        };
        format.create(AtomicFile::create(&target, options.force)?, header)
    };
    let report = convert_into(source, &mut begin, options, progress)?;
    Ok(Report { output: target, ..report })
}

/// As [`convert`], into whatever `begin` makes of the plan and the header: several files, for instance. The report
/// names no output.
///
/// # Errors
/// As [`convert`], and what `begin` gives.
pub fn convert_into(
    source: &dyn Checkpoint,
    begin: &mut Begin<'_>,
    options: &ConvertOptions,
    progress: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
) -> Result<Report> {
    let plan = Plan::new(source, options)?;
    let threads = match options.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let slabs = Slabs::cut(&plan.tensors, options.memory, threads)?;
    let targets: Vec<TensorInfo> = plan.targets().cloned().collect();
    let header = ModelHeader { metadata: &plan.metadata, tensors: &targets };
    let sink = begin(&plan, &header)?;
    if progress(Event::Planned(&plan)).is_break() {
        return Err(gristmill_tensor::Error::Interrupted.into());
    }
    let job = Job { source, sink: &*sink, plan: &plan, slabs: &slabs.slabs };
    let measured = job.run(slabs.workers, progress)?;
    sink.finish()?;
    Ok(Report::new(plan, PathBuf::new(), &measured))
}

/// Begins the output of a conversion.
pub type Begin<'a> =
    dyn FnMut(&Plan, &ModelHeader<'_>) -> gristmill_tensor::Result<Box<dyn TensorSink>> + 'a;

/// Floats in work at once: 256 KiB of them.
const CACHED_FLOATS: usize = 64 << 10;

struct Job<'a> {
    source: &'a dyn Checkpoint,
    sink: &'a dyn TensorSink,
    plan: &'a Plan,
    slabs: &'a [Slab],
}

impl Job<'_> {
    fn run(
        &self,
        workers: usize,
        progress: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<Vec<ErrorStats>> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(workers).build()?;
        let next = AtomicUsize::new(0);
        let stop = AtomicBool::new(false);
        let (sender, results) = mpsc::channel();
        let mut failure: Option<(usize, Error)> = None;
        let mut interrupted = false;
        let mut errors = vec![ErrorStats::default(); self.slabs.len()];
        pool.in_place_scope(|scope| {
            for _ in 0..workers {
                let sender = sender.clone();
                scope.spawn(|_| self.work(&next, &stop, sender));
            }
            drop(sender);
            let total = self.plan.bytes_out();
            let mut written = 0;
            for (number, result) in results {
                match result {
                    Ok(Done { bytes, error }) => {
                        written += bytes;
                        errors[number] = error;
                        let tensor = &self.plan.tensors[self.slabs[number].tensor].target;
                        interrupted |= !interrupted
                            && progress(Event::Written { tensor, written, total }).is_break();
                    }
                    Err(error) if failure.as_ref().is_none_or(|(first, _)| number < *first) => {
                        failure = Some((number, error));
                    }
                    Err(_) => {}
                }
                if interrupted {
                    stop.store(true, Ordering::Relaxed);
                }
            }
        });
        match failure {
            Some((_, error)) => Err(error),
            None if interrupted => Err(gristmill_tensor::Error::Interrupted.into()),
            None => Ok(self.by_tensor(&errors)),
        }
    }

    /// The errors of slabs as those of tensors, added up in the order of the file whichever came first.
    fn by_tensor(&self, errors: &[ErrorStats]) -> Vec<ErrorStats> {
        let mut sums = vec![ErrorStats::default(); self.plan.tensors.len()];
        for (slab, error) in self.slabs.iter().zip(errors) {
            sums[slab.tensor].merge(error);
        }
        sums
    }

    /// One worker: slab after slab, until there are no more or somebody failed.
    fn work(
        &self,
        next: &AtomicUsize,
        stop: &AtomicBool,
        results: mpsc::Sender<(usize, Result<Done>)>,
    ) {
        let mut buffers = Buffers::default();
        while !stop.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(slab) = self.slabs.get(number) else { return };
            let result = self.slab(slab, &mut buffers);
            if result.is_err() {
                stop.store(true, Ordering::Relaxed);
            }
            // The receiver outlives the workers; should it not, nobody wants the result.
            let _ = results.send((number, result));
        }
    }

    /// Converts one slab.
    fn slab(&self, slab: &Slab, buffers: &mut Buffers) -> Result<Done> {
        let tensor = &self.plan.tensors[slab.tensor];
        let offset = slab.rows.start as u64 * tensor.target.row_bytes() as u64;
        let stored = self.source.read(&tensor.source.name, slab.rows.clone())?;
        let mut error = ErrorStats::default();
        let converted: &[u8] = match tensor.step() {
            Step::Copy => &stored,
            _ => buffers.convert(tensor, slab.rows.start, &stored, &mut error)?,
        };
        self.sink.write(slab.tensor, offset, converted)?;
        Ok(Done { bytes: converted.len() as u64, error })
    }
}

/// What became of a slab.
struct Done {
    /// Bytes written.
    bytes: u64,
    /// The measured error; nothing where none is measured.
    error: ErrorStats,
}

/// A worker's memory, used for slab after slab.
#[derive(Default)]
struct Buffers {
    floats: Vec<f32>,
    restored: Vec<f32>,
    target: Vec<u8>,
}

impl Buffers {
    /// The rows `stored`, of which the first is number `first_row` of the tensor, in the tensor's new type.
    fn convert(
        &mut self,
        tensor: &PlannedTensor,
        first_row: usize,
        stored: &[u8],
        error: &mut ErrorStats,
    ) -> Result<&[u8]> {
        let PlannedTensor { source, target } = tensor;
        let row_len = source.shape.row_len().max(1);
        let rows = stored.len() / source.row_bytes().max(1);
        self.target.resize(rows * target.row_bytes(), 0);
        // A few rows at a time, so that their floats stay in the core's cache.
        let step = (CACHED_FLOATS / row_len).clamp(1, rows.max(1));
        let stored = stored.chunks(step * source.row_bytes().max(1));
        let new = self.target.chunks_mut(step * target.row_bytes().max(1));
        for (part, (stored, new)) in stored.zip(new).enumerate() {
            if let Step::Transcode(transcoding) = tensor.step() {
                (transcoding.apply)(stored, new);
                if transcoding.exact {
                    continue;
                }
            }
            self.floats.resize(stored.len() / source.row_bytes() * row_len, 0.0);
            (codec(source.dtype).dequantize)(stored, &mut self.floats);
            check(target, first_row + part * step, &self.floats)?;
            if let Step::Recode = tensor.step() {
                let quantize = codec(target.dtype).quantize;
                quantize.expect("the plan has only types that can be written")(&self.floats, new);
            }
            if tensor.is_measured() {
                self.restored.resize(self.floats.len(), 0.0);
                (codec(target.dtype).dequantize)(new, &mut self.restored);
                check(target, first_row + part * step, &self.restored)?;
                error.accumulate(&self.floats, &self.restored);
            }
        }
        Ok(&self.target)
    }
}

/// Refuses values that the target type cannot hold, naming the first one.
fn check(target: &TensorInfo, first_row: usize, values: &[f32]) -> Result<()> {
    let TensorInfo { ref name, dtype: target, ref shape } = *target;
    let unfit = match target {
        DType::F16 => overflows_f16(values),
        _ if target.is_quantized() => unfit_for_blocks(values),
        _ => None,
    };
    let Some(index) = unfit else { return Ok(()) };
    let (row, column, value) =
        (first_row + index / shape.row_len(), index % shape.row_len(), values[index]);
    let tensor = name.clone();
    Err(match target.is_quantized() && !value.is_finite() {
        true => Error::NotFinite { tensor, row, column, value, target },
        false => Error::Overflow { tensor, row, column, value, target },
    })
}

fn codec(dtype: DType) -> &'static Codec {
    gristmill_quant::codec(dtype).expect("the plan has only types with a codec")
}
