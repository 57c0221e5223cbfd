//! `quantize`: a model file to a smaller one.

use crate::args::Quantize;
use crate::commands::convert::{options, write};
use crate::exit::Result;

/// Quantizes.
pub(crate) fn run(args: Quantize) -> Result {
    let options = options(&args.outtype, &args.work, args.allow_requantize);
    write(&args.source, &args.output, &options, &args.work)
}
