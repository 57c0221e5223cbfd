//! Continues a text: `cargo run --release --example generate -- MODEL "Once upon a time"`.
//!
//! MODEL is a GGUF file or a checkpoint's folder.
#![allow(clippy::print_stdout, reason = "an example talks to people")]

use std::error::Error;
use std::io::Write;

use gristmill::runtime::{Chain, SamplerOptions, Session, SessionOptions};
use gristmill::tokenizer::{EncodeOptions, TextStream};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(path), Some(prompt)) = (arguments.next(), arguments.next()) else {
        return Err("usage: generate MODEL PROMPT".into());
    };
    let (model, tokenizer) = gristmill::load(&path)?;
    let n_ctx = model.max_n_ctx().unwrap_or(2048).min(2048);
    let mut session = Session::new(model, SessionOptions { n_ctx, ..SessionOptions::default() })?;
    let mut sampler = Chain::new(SamplerOptions::default());

    let options = EncodeOptions { add_special: true, parse_special: false };
    let tokens = tokenizer.encode(&prompt, options)?;
    let n_predict = n_ctx.saturating_sub(tokens.len()).min(200);
    let mut text = TextStream::continuing(&*tokenizer, true);
    print!("{prompt}");
    for token in session.generate(&mut sampler, &tokens).take(n_predict) {
        let token = token?;
        if tokenizer.is_eog(token) {
            break;
        }
        // A character may take several tokens: nothing is shown before it is whole.
        print!("{}", text.push(token));
        std::io::stdout().flush()?;
    }
    println!("{}", text.flush());
    Ok(())
}
