//! The result in llama-bench's table, or in its JSON and CSV, under its names.

use gristmill::kernels::level;
use serde_json::{Map, Value, json};

use super::Measured;
use crate::args::{Bench, BenchFormat};
use crate::commands::doctor::cpu_model;
use crate::human;
use crate::output::say;

/// Prints line by line as results come.
pub(super) struct Printer {
    format: BenchFormat,
    columns: Vec<Column>,
    n_lines: usize,
    cpu: String,
}

/// A column of the table: its name, its width (negative: aligned left) and what it shows.
type Column = (&'static str, isize, fn(&Measured<'_>) -> String);

impl Printer {
    /// A table shows what may differ from line to line, and what is not the default.
    pub(super) fn new(args: &Bench) -> Printer {
        let mut columns: Vec<Column> = vec![
            ("model", -30, |line| line.model.title.clone()),
            ("size", 10, |line| size(line.model.n_bytes)),
            ("params", 10, |line| params(line.model.n_params)),
            ("backend", -10, |_| "CPU".into()),
            ("threads", 7, |line| line.config.n_threads.to_string()),
        ];
        if args.batch_size != [Bench::DEFAULT_BATCH] {
            columns.push(("n_batch", 7, |line| line.config.n_batch.to_string()));
        }
        if args.cache_type.iter().any(|cache| cache.name() != "f16") {
            columns.push(("type_k", 6, |line| line.config.cache.name().into()));
        }
        columns.push(("test", 15, |line| line.test.name(line.config.n_depth)));
        columns.push(("t/s", 20, |line| {
            let rate = line.times.rate(line.test.n_tokens());
            format!("{:.2} ± {:.2}", rate.mean, rate.deviation)
        }));
        if args.verbose {
            columns.push(("of the limit", 24, |line| {
                line.share.as_ref().map(ToString::to_string).unwrap_or_default()
            }));
        }
        Printer { format: args.output, columns, n_lines: 0, cpu: cpu_model() }
    }

    /// What stands above all lines.
    pub(super) fn begin(&self) {
        match self.format {
            BenchFormat::Md => {
                say!("{}", self.row(|(name, ..)| (*name).into()));
                let dashes: Vec<String> = self
                    .columns
                    .iter()
                    .map(|&(_, width, _)| {
                        let end = if width > 0 { ":" } else { "-" };
                        format!(" {}{end} |", "-".repeat(width.unsigned_abs() - 1))
                    })
                    .collect();
                say!("|{}", dashes.concat());
            }
            BenchFormat::Json => say!("["),
            BenchFormat::Jsonl | BenchFormat::Csv => {}
        }
    }

    /// One result.
    pub(super) fn line(&mut self, line: &Measured<'_>) {
        match self.format {
            BenchFormat::Md => say!("{}", self.row(|(.., show)| show(line))),
            BenchFormat::Jsonl => say!("{}", Value::from(self.fields(line))),
            BenchFormat::Json => {
                if self.n_lines > 0 {
                    say!("  ,");
                }
                say!("{:#}", Value::from(self.fields(line)));
            }
            BenchFormat::Csv => {
                let fields = self.fields(line);
                let scalars = || fields.iter().filter(|(_, value)| !value.is_array());
                if self.n_lines == 0 {
                    say!(
                        "{}",
                        scalars().map(|(key, _)| key.as_str()).collect::<Vec<_>>().join(",")
                    );
                }
                say!("{}", scalars().map(|(_, value)| quoted(value)).collect::<Vec<_>>().join(","));
            }
        }
        self.n_lines += 1;
    }

    /// What stands below all lines.
    pub(super) fn end(&self) {
        match self.format {
            BenchFormat::Md => {
                say!();
                say!("gristmill {}, {} on {}", version(), level().name(), self.cpu);
            }
            BenchFormat::Json => say!("]"),
            BenchFormat::Jsonl | BenchFormat::Csv => {}
        }
    }

    fn row(&self, cell: impl Fn(&Column) -> String) -> String {
        let cells = self.columns.iter().map(|column| {
            let (text, width) = (cell(column), column.1.unsigned_abs());
            if column.1 < 0 { format!(" {text:<width$} |") } else { format!(" {text:>width$} |") }
        });
        format!("|{}", cells.collect::<String>())
    }

    fn fields(&self, line: &Measured<'_>) -> Map<String, Value> {
        let n_tokens = line.test.n_tokens();
        let (times, rate) = (line.times.spread(), line.times.rate(n_tokens));
        let cache = line.config.cache.name();
        let fields = json!({
            "build_version": version(),
            "cpu_info": self.cpu,
            "simd": level().name(),
            "backends": "CPU",
            "model_filename": line.file,
            "model_type": line.model.title,
            "model_size": line.model.n_bytes,
            "model_n_params": line.model.n_params,
            "n_batch": line.config.n_batch,
            "n_threads": line.config.n_threads,
            "type_k": cache,
            "type_v": cache,
            "n_prompt": line.test.n_prompt,
            "n_gen": line.test.n_gen,
            "n_parallel": line.test.n_parallel,
            "n_depth": line.config.n_depth,
            "test_time": human::utc(std::time::SystemTime::now()),
            "avg_ns": times.mean.round() as u64,
            "stddev_ns": times.deviation.round() as u64,
            "avg_ts": rate.mean,
            "stddev_ts": rate.deviation,
            "samples_ns": line.times.nanoseconds(),
            "samples_ts": line.times.rates(n_tokens),
        });
        let Value::Object(mut fields) = fields else { unreachable!("it was written as an object") };
        if let Some(Value::Object(share)) = line.share.as_ref().map(|share| share.json()) {
            fields.extend(share);
        }
        fields
    }
}

fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// A value of a CSV file: in quotes, with quotes doubled.
fn quoted(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), Into::into);
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// As llama-bench writes sizes.
fn size(n_bytes: u64) -> String {
    let mebibytes = n_bytes as f64 / (1 << 20) as f64;
    if mebibytes < 1024.0 {
        format!("{mebibytes:.2} MiB")
    } else {
        format!("{:.2} GiB", mebibytes / 1024.0)
    }
}

/// As llama-bench counts weights.
fn params(n: u64) -> String {
    let millions = n as f64 / 1e6;
    if millions < 1000.0 {
        format!("{millions:.2} M")
    } else {
        format!("{:.2} B", millions / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_llama_bench_writes_them() {
        assert_eq!(size(75_776_655), "72.27 MiB");
        assert_eq!(size(3_825_807_360), "3.56 GiB");
        assert_eq!(params(134_515_008), "134.52 M");
        assert_eq!(params(6_738_415_616), "6.74 B");
        assert_eq!(quoted(&json!("a \"b\"")), "\"a \"\"b\"\"\"");
        assert_eq!(quoted(&json!(2)), "\"2\"");
    }
}
