//! `logits`: the logits of every position, for comparing engines.

use gristmill::safetensors::Safetensors;
use gristmill::tensor::{AtomicFile, DType, Format, Metadata, ModelHeader, TensorInfo};

use crate::args::Logits;
use crate::exit::{Failure, Result};
use crate::model::{self, Loaded};
use crate::output::say;

/// Runs the model over the tokens and writes the file, batch by batch.
pub(crate) fn run(args: Logits) -> Result {
    let loaded = Loaded::open_in(&args.model.model, &args.model.source_args, args.model.memory)?;
    let tokens = match (&args.tokens, &args.prompt) {
        (Some(ids), _) => ids.clone(),
        (None, Some(text)) => loaded.encode(text, true, true)?,
        (None, None) => Vec::new(),
    };
    if tokens.is_empty() {
        return Err("there are no tokens; give -p TEXT or --tokens IDS".into());
    }
    let n_vocab = loaded.model.n_vocab();
    let n_ctx = args.model.ctx_size.unwrap_or(0).max(tokens.len());
    let mut session = model::session(
        &loaded,
        n_ctx,
        args.model.batch_size,
        args.model.threads,
        args.model.cache_type,
        args.model.deterministic,
    )?;

    let file = AtomicFile::create(&args.output, args.force).map_err(gristmill::Error::from)?;
    let metadata = Metadata::new("");
    let tensors = [TensorInfo::new("logits", DType::F32, [tokens.len(), n_vocab])];
    let header = ModelHeader { metadata: &metadata, tensors: &tensors };
    let sink = Safetensors.create(file, &header).map_err(gristmill::Error::from)?;
    let mut written = Ok(());
    session
        .feed_all(&tokens, &mut |first, logits| {
            let bytes: Vec<u8> = logits.iter().flat_map(|logit| logit.to_le_bytes()).collect();
            let offset = (first * n_vocab * size_of::<f32>()) as u64;
            if written.is_ok() {
                written = sink.write(0, offset, &bytes);
            }
        })
        .map_err(gristmill::Error::from)?;
    written
        .and_then(|()| sink.finish())
        .map_err(|error| Failure::from(gristmill::Error::from(error)))?;
    say!("wrote {}: logits [{}, {n_vocab}]", args.output.display(), tokens.len());
    Ok(())
}
