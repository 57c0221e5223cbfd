//! Shows the tokens of a text: `cargo run --example encode -- <model folder> <text>`.

use std::path::Path;

use gristmill_tensor::Limits;
use gristmill_tokenizer::{EncodeOptions, Tokenizer};

#[expect(clippy::print_stdout, reason = "printing is what the example is for")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(text)) = (arguments.next(), arguments.next()) else {
        return Err("usage: encode <model folder> <text>".into());
    };
    let tokenizer = Tokenizer::from_folder(Path::new(&folder), &Limits::default())?;
    let options = EncodeOptions { add_special: true, parse_special: false };
    println!("{}, {} tokens", tokenizer.kind(), tokenizer.n_vocab());
    for id in tokenizer.encode(&text, options)? {
        println!("{id:6} {:?}", tokenizer.token_text(id).unwrap_or_default());
    }
    Ok(())
}
