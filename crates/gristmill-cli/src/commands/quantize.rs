//! `quantize`: a model file to a smaller one.

use crate::args::Quantize;
use crate::commands::convert::{options, write};
use crate::exit::Result;

/// Quantizes.
pub(crate) fn run(args: Quantize) -> Result {
    let options = options(&args.legacy, &args.work, args.allow_requantize);
    let (source, target) = (&args.source, &args.container);
    write(source, &args.source_args, &args.output, target, Some(&args.outtype), options, &args.work)
}
