//! `convert`: a checkpoint to GGUF, quantizing on the way if asked.

use std::path::Path;

use gristmill::OpenOptions;
use gristmill::convert::{ConvertOptions, OutType};
use gristmill::tensor::Access;

use crate::args::{Convert, Work};
use crate::exit::Result;
use crate::progress::Progress;

/// Converts.
pub(crate) fn run(args: Convert) -> Result {
    let options = options(&args.outtype, &args.work, false);
    write(&args.source, &args.output, &options, &args.work)
}

/// Converts, telling how it goes.
pub(crate) fn write(source: &Path, output: &Path, options: &ConvertOptions, work: &Work) -> Result {
    let mut progress = Progress::new(work);
    let opening = OpenOptions { access: Access::Read, ..OpenOptions::default() };
    let opened = gristmill::open_with(source, &opening)?;
    let report = opened.convert(output, options, &mut |event| progress.event(event))?;
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
    }
}
