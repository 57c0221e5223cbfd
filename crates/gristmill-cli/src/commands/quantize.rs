//! `quantize`: a model file to a smaller one.

use crate::args::Quantize;
use crate::commands::convert::options;
use crate::exit::Result;
use crate::progress::Progress;

/// Quantizes.
pub(crate) fn run(args: Quantize) -> Result {
    let options = options(&args.outtype, &args.work, args.allow_requantize);
    let mut progress = Progress::new(&args.work);
    let report = gristmill::convert_with(&args.source, &args.output, &options, &mut |event| {
        progress.event(event)
    })?;
    progress.finish(&report);
    Ok(())
}
