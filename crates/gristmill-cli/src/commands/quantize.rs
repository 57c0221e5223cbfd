//! `quantize`: a model file to a smaller one.

use crate::args::Quantize;
use crate::commands::convert::{options, target, write};
use crate::exit::Result;

/// Quantizes.
pub(crate) fn run(args: Quantize) -> Result {
    let target = target(&args.container);
    let options = options(target, &args.work);
    let outtype = Some(&*args.outtype);
    write(&args.source, &args.source_args, &args.output, target, outtype, options, &args.work)
}
