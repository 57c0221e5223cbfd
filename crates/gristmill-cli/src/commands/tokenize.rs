//! `tokenize`: how a model cuts text into tokens.

use gristmill::tokenizer::EncodeOptions;
use serde_json::json;

use crate::args::Tokenize;
use crate::exit::{Result, at};
use crate::model;
use crate::output::say;

/// Prints ids and pieces.
pub(crate) fn run(args: Tokenize) -> Result {
    let tokenizer = model::tokenizer(&args.model, &args.source_args)?;
    let text = match (&args.text.prompt, &args.text.file) {
        (Some(text), _) => text.clone(),
        (None, Some(file)) => std::fs::read_to_string(file).map_err(at(file.display()))?,
        (None, None) => String::new(),
    };
    let options = EncodeOptions { add_special: !args.no_bos, parse_special: true };
    let ids = tokenizer.encode(&text, options).map_err(gristmill::Error::from)?;
    let piece = |id: u32| String::from_utf8_lossy(&tokenizer.token_bytes(id)).into_owned();
    if args.json {
        let pieces: Vec<String> = ids.iter().map(|&id| piece(id)).collect();
        say!("{}", json!({ "tokens": ids, "pieces": pieces }));
        return Ok(());
    }
    for id in ids {
        say!("{id:>6}  {:?}", piece(id));
    }
    Ok(())
}
