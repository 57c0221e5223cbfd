//! llama.cpp's programs, and those of its forks.

use std::path::Path;

use super::{Engine, Place, not_done, scratch};
use crate::Result;
use crate::bench::peers::work::{Figure, Work, speeds};
use crate::shell::{all_output, output};

/// A folder with its programs; options are for its llama-bench.
pub(super) struct LlamaCpp(pub(super) Place);

impl Engine for LlamaCpp {
    fn measure(&self, work: &Work, model: &Path, n_threads: usize) -> Result<Vec<Figure>> {
        let threads = n_threads.to_string();
        let bench = || {
            let mut command = self.0.program("llama-bench")?;
            command.args(&self.0.options).arg("-m").arg(model).args(["-r", "1", "-t", &threads]);
            Ok::<_, String>(command)
        };
        match work {
            &Work::Speed { n_prompt, n_gen, n_depth } => {
                let mut command = bench()?;
                command.args(["-o", "json"]).args(self.tests(n_prompt, n_gen, n_depth)?);
                speeds(&output(&mut command)?)
            }
            Work::Together { n_prompt, n_gen, n_parallel } => {
                let n_ctx = n_parallel * (n_prompt + n_gen);
                let mut command = self.0.program("llama-batched-bench")?;
                command.arg("-m").arg(model).args(["-t", &threads, "-c", &n_ctx.to_string()]);
                command.args(["-npp", &n_prompt.to_string(), "-ntg", &n_gen.to_string()]);
                command.args(["-npl", &n_parallel.to_string()]);
                together(&all_output(&mut command)?)
            }
            Work::Start => {
                let mut command = bench()?;
                command.args(["-p", "0", "-n", "1"]);
                let has_flag = self.help()?.contains("--no-warmup");
                command.args(if has_flag { &["--no-warmup"][..] } else { &["--warmup", "0"] });
                Figure::timed("first token", &mut command)
            }
            Work::Quantize(outtype) => {
                let mut command = self.0.program("llama-quantize")?;
                command.arg("--allow-requantize").arg(model);
                command
                    .arg(scratch()?.join("quantized.gguf"))
                    .args([outtype.to_uppercase(), threads]);
                Figure::timed(&format!("to {outtype}"), &mut command)
            }
            Work::Convert => not_done(),
        }
    }
}

impl LlamaCpp {
    fn help(&self) -> Result<String> {
        output(self.0.program("llama-bench")?.arg("--help"))
    }

    /// The words that ask llama-bench for its tests.
    fn tests(&self, n_prompt: usize, n_gen: usize, n_depth: usize) -> Result<Vec<String>> {
        let mut words = vec!["-p".to_string(), n_prompt.to_string()];
        if n_depth == 0 || self.help()?.contains("--n-depth") {
            words.extend(["-n".into(), n_gen.to_string()]);
            // Older programs do not know the option.
            if n_depth > 0 {
                words.extend(["-d".into(), n_depth.to_string()]);
            }
            return Ok(words);
        }
        // ik_llama.cpp decodes behind a prompt by an option of its own, and has none for another prompt behind it.
        words[1] = "0".into();
        words.extend(["-n".into(), "0".into(), "-gp".into(), format!("{n_depth},{n_gen}")]);
        Ok(words)
    }
}

/// The rate of decoding in the table of llama-batched-bench, which some versions print on standard error:
/// `| PP | TG | B | N_KV | T_PP s | S_PP t/s | T_TG s | S_TG t/s | …`.
fn together(text: &str) -> Result<Vec<Figure>> {
    let numbers = |line: &str| -> Vec<f64> {
        line.split('|').skip(1).map_while(|cell| cell.trim().parse().ok()).collect()
    };
    let rows: Vec<Vec<f64>> = text.lines().map(numbers).filter(|row| row.len() > 7).collect();
    let row = rows.last().ok_or("llama-batched-bench gave no results")?;
    Ok(vec![Figure::rate(format!("tg{} x {} @ d{}", row[1], row[2], row[0]), row[7])])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_of_texts_together_is_read() {
        let text = "loading | 2\n\
            |    PP |     TG |    B |   N_KV |   T_PP s | S_PP t/s |   T_TG s | S_TG t/s |      T s |\n\
            |-------|--------|------|--------|----------|----------|----------|----------|----------|\n\
            |    64 |      8 |    4 |    288 |    0.484 |   528.52 |    0.126 |   254.36 |    0.610 |\n";
        assert_eq!(together(text).unwrap(), [Figure::rate("tg8 x 4 @ d64".into(), 254.36)]);
        assert!(together("loading").is_err());
    }
}
