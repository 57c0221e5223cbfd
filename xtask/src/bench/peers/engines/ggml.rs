//! ggml's own `gpt-j` program, which reads ggml's file of a GPT-J.

use std::path::Path;

use super::{Engine, Place, not_done};
use crate::Result;
use crate::bench::peers::work::{Figure, Work};
use crate::shell::output;

/// A folder with the program; options are for it.
pub(super) struct GptJ(pub(super) Place);

impl Engine for GptJ {
    fn measure(&self, work: &Work, model: &Path, n_threads: usize) -> Result<Vec<Figure>> {
        let &Work::Speed { n_prompt, n_gen, n_depth: 0 } = work else { return not_done() };
        // It times prompt and decoding together, so each is asked for by itself: a prompt from which one token is
        // sampled, and one token that is continued.
        let tests = [(n_prompt, 1, format!("pp{n_prompt}")), (1, n_gen, format!("tg{n_gen}"))];
        let asked = tests.into_iter().zip([n_prompt, n_gen]).filter(|(_, n)| *n > 0);
        asked
            .map(|((n_prompt, n_predict, what), _)| {
                let mut command = self.0.program("gpt-j")?;
                command.arg("-m").arg(model).args(["-t", &n_threads.to_string(), "-s", "1"]);
                // A token of every vocabulary of GPT-2's kind, and whole prompts at once, as everyone does.
                command.args(["-p", &format!("a{}", " a".repeat(n_prompt - 1))]);
                command.args(["-b", &n_prompt.to_string(), "-n", &n_predict.to_string()]);
                command.args(&self.0.options);
                Ok(Figure::rate(what, rate(&output(&mut command)?, n_prompt)?))
            })
            .collect()
    }
}

/// Tokens per second in what the program tells at its end, if the prompt was as long as asked.
fn rate(text: &str, n_prompt: usize) -> Result<f64> {
    let after = |mark: &str| {
        let rest = text.rsplit_once(mark)?.1;
        rest.split_whitespace().next()?.parse::<f64>().ok()
    };
    let n_tokens = after("number of tokens in prompt =").ok_or("gpt-j counted no tokens")?;
    if n_tokens != n_prompt as f64 {
        return Err(format!("gpt-j made {n_tokens} tokens of a prompt of {n_prompt}"));
    }
    let milliseconds = text
        .rsplit_once("predict time =")
        .and_then(|(_, rest)| rest.split_once('/')?.1.split_whitespace().next()?.parse().ok())
        .filter(|&time: &f64| time > 0.0);
    Ok(1000.0 / milliseconds.ok_or("gpt-j told no time")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_tokens_of_the_right_number() {
        let text = "main: number of tokens in prompt = 3\n\na a a b\n\nmain: mem per token =   184320 bytes\n\
                    main:     load time =    12.00 ms\nmain:  predict time =   150.00 ms / 50.00 ms per token\n\
                    main:    total time =   200.00 ms\n";
        assert_eq!(rate(text, 3), Ok(20.0));
        assert!(rate(text, 4).unwrap_err().contains("made 3 tokens of a prompt of 4"));
        assert!(rate("", 1).is_err());
    }
}
