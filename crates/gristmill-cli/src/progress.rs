//! What a conversion shows while it runs: a bar on a terminal, JSON events for scripts, or nothing.

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use gristmill::convert::{Change, Event, Report};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::args::Work;
use crate::output::say;
use crate::{human, interrupt};

/// Follows one conversion.
pub(crate) struct Progress {
    bar: ProgressBar,
    json: bool,
    quiet: bool,
    started: Instant,
    last_event: Instant,
}

/// JSON events come at most this often.
const EVENT_INTERVAL: Duration = Duration::from_millis(200);

impl Progress {
    /// A bar where there is a terminal to draw on and nobody asked for silence.
    pub(crate) fn new(work: &Work) -> Progress {
        let draw = !work.quiet && !work.json && std::io::stderr().is_terminal();
        let bar = if draw { ProgressBar::new(0) } else { ProgressBar::hidden() };
        let style = ProgressStyle::with_template(
            "{bar:30} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left  {wide_msg}",
        );
        bar.set_style(style.expect("the template is constant and right"));
        let now = Instant::now();
        Progress { bar, json: work.json, quiet: work.quiet, started: now, last_event: now }
    }

    /// Takes an event; breaks off when the user pressed Ctrl-C.
    pub(crate) fn event(&mut self, event: Event<'_>) -> ControlFlow<()> {
        if let Event::Written { tensor, written, total } = event {
            self.bar.set_length(total);
            self.bar.set_position(written);
            self.bar.set_message(tensor.name.clone());
            if self.json && (written == total || self.last_event.elapsed() >= EVENT_INTERVAL) {
                self.last_event = Instant::now();
                let name = &tensor.name;
                say!(
                    "{}",
                    json!({ "event": "progress", "tensor": name, "written": written, "total": total })
                );
            }
        }
        interrupt::check()
    }

    /// Says what was done.
    pub(crate) fn finish(self, report: &Report) {
        self.bar.finish_and_clear();
        if self.quiet {
            return;
        }
        let elapsed = self.started.elapsed();
        let size = std::fs::metadata(&report.output).map_or(report.bytes_out, |file| file.len());
        if self.json {
            say!("{}", summary(report, size, elapsed));
            return;
        }
        for note in &report.notes {
            eprintln!("note: {note}");
        }
        let types: Vec<String> = report
            .tallies
            .iter()
            .map(|tally| {
                format!("{} {} ({})", tally.tensors, tally.dtype, human::bytes(tally.bytes))
            })
            .collect();
        say!("wrote {}", report.output.display());
        say!(
            "  {} from {} of weights, in {}",
            human::bytes(size),
            human::bytes(report.bytes_in),
            human::duration(elapsed)
        );
        say!("  {} tensors: {}", report.tensors, types.join(", "));
        for change in report.changes.iter().take(CHANGES_SHOWN) {
            say!("  {change}");
        }
        if report.changes.len() > CHANGES_SHOWN {
            say!(
                "  … and {} more like these; --json has them all",
                report.changes.len() - CHANGES_SHOWN
            );
        }
        if !report.changes.is_empty() {
            say!("  (--outtype f32 would keep every number of these)");
        }
        say!("  lossless: {}/{} tensors", report.lossless, report.tensors);
        if let Some(peak) = human::peak_memory() {
            say!("  peak memory {}", human::bytes(peak));
        }
    }
}

/// Tensors that lost something are listed up to this number.
const CHANGES_SHOWN: usize = 8;

fn change(change: &Change) -> serde_json::Value {
    json!({
        "tensor": change.source.name,
        "from": change.source.dtype.name(),
        "to": change.stored.name(),
        "rmse": change.error.rmse(),
        "relative_rmse": change.error.rmse() / change.error.rms().max(f64::MIN_POSITIVE),
        "max_error": change.error.max(),
    })
}

fn summary(report: &Report, size: u64, elapsed: Duration) -> serde_json::Value {
    let types: Vec<_> = report
        .tallies
        .iter()
        .map(|tally| json!({ "type": tally.dtype.name(), "tensors": tally.tensors, "bytes": tally.bytes }))
        .collect();
    json!({
        "event": "done",
        "output": report.output,
        "outtype": report.outtype.name(),
        "bytes": size,
        "bytes_in": report.bytes_in,
        "tensors": report.tensors,
        "lossless": report.lossless,
        "changes": report.changes.iter().map(change).collect::<Vec<_>>(),
        "types": types,
        "notes": report.notes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "seconds": elapsed.as_secs_f64(),
        "peak_memory": human::peak_memory(),
    })
}
