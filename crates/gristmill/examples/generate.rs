//! Continues a text: `cargo run --release --example generate -- MODEL "Once upon a time"`.
//!
//! MODEL is a GGUF file or a checkpoint's folder.
#![allow(clippy::print_stdout, reason = "an example talks to people")]

use std::error::Error;
use std::io::Write;
use std::ops::ControlFlow;

use gristmill::GenerateOptions;
use gristmill::runtime::{Chain, SamplerOptions, Session, SessionOptions};
use gristmill::tokenizer::EncodeOptions;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(path), Some(prompt)) = (arguments.next(), arguments.next()) else {
        return Err("usage: generate MODEL PROMPT".into());
    };
    let (model, tokenizer) = gristmill::load(&path)?;
    let n_ctx = model.max_n_ctx().unwrap_or(2048).min(2048);
    let mut session = Session::new(model, SessionOptions { n_ctx, ..SessionOptions::default() })?;
    let mut sampler = Chain::new(SamplerOptions::default());

    let encoding = EncodeOptions { add_special: true, parse_special: false };
    let tokens = tokenizer.encode(&prompt, encoding)?;
    let options = GenerateOptions { n_predict: Some(200), ..GenerateOptions::default() };
    print!("{prompt}");
    // Text comes in whole characters, although one may take several tokens.
    let mut show = |text: &str| {
        print!("{text}");
        let _ = std::io::stdout().flush();
        ControlFlow::Continue(())
    };
    let tokenizer = Some(&*tokenizer);
    let written =
        gristmill::generate(&mut session, tokenizer, &mut sampler, &tokens, &options, &mut show)?;
    println!("\n[{} tokens, {}]", written.tokens.len(), written.finish_reason.name());
    Ok(())
}
