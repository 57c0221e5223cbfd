//! `convert`: a checkpoint to GGUF, quantizing on the way if asked.

use gristmill::ConvertOptions;
use gristmill::convert::OutType;

use crate::args::{Convert, Work};
use crate::exit::Result;
use crate::progress::Progress;

/// Converts.
pub(crate) fn run(args: Convert) -> Result {
    let options = options(&args.outtype, &args.work, false);
    let mut progress = Progress::new(&args.work);
    let report = gristmill::convert_with(&args.source, &args.output, &options, &mut |event| {
        progress.event(event)
    })?;
    progress.finish(&report);
    Ok(())
}

/// What the words of the command line mean to the library.
pub(crate) fn options(outtype: &str, work: &Work, allow_requantize: bool) -> ConvertOptions {
    let outtype = OutType::from_name(outtype).expect("clap accepts only the names of types");
    ConvertOptions {
        outtype,
        memory: work.memory,
        threads: work.threads.unwrap_or(0),
        allow_requantize,
        force: work.force,
        ..ConvertOptions::default()
    }
}
