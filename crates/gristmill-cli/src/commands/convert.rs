//! `convert`: a model from any format to any other, quantizing on the way if asked.

use std::path::Path;

use gristmill::convert::{ConvertOptions, OutType};
use gristmill::tensor::Access;
use gristmill::{OpenOptions, Target};

use crate::args::{Convert, SourceArgs, Work};
use crate::exit::Result;
use crate::model::opening;
use crate::progress::Progress;

/// Converts.
pub(crate) fn run(args: Convert) -> Result {
    let target = target(&args.to);
    let options = options(target, &args.work);
    let outtype = args.outtype.as_deref();
    write(&args.source, &args.source_args, &args.output, target, outtype, options, &args.work)
}

/// Converts, telling how it goes.
pub(crate) fn write(
    source: &Path,
    source_args: &SourceArgs,
    output: &Path,
    target: Target,
    outtype: Option<&str>,
    mut options: ConvertOptions,
    work: &Work,
) -> Result {
    if options.quant_version != 2 && matches!(target, Target::Gguf) {
        return Err(
            "GGUF has only version 2 of the block layouts; give --to ggml or --to ggjt".into()
        );
    }
    let mut progress = Progress::new(work);
    let opening = OpenOptions { access: Access::Read, ..opening(source_args) };
    let opened = gristmill::open_with(source, &opening)?;
    options.outtype = match outtype {
        Some(name) => OutType::from_name(name).expect("clap accepts only the names of types"),
        None => opened.default_outtype(target),
    };
    let report = opened.convert_to(target, output, &options, &mut |event| progress.event(event))?;
    progress.finish(&report);
    Ok(())
}

/// The target that the command line names.
pub(crate) fn target(name: &str) -> Target {
    Target::from_name(name).expect("clap accepts only the names of targets")
}

/// What the words of the command line mean to the library.
pub(crate) fn options(target: Target, work: &Work) -> ConvertOptions {
    ConvertOptions {
        quant_version: work.quant_version.unwrap_or(target.quant_version()),
        memory: work.memory,
        threads: work.threads.unwrap_or(0),
        allow_requantize: work.allow_requantize,
        force: work.force,
        ..ConvertOptions::default()
    }
}
