//! Finding out what a file is: it is read in every way there is, and one way is left.
//!
//! A way is a [`HeaderLayout`]. Wrong ones fail early: a width that the heads do not divide, a token of a million
//! bytes, a first tensor that the architecture does not have. What decides is the walk over the records, which must
//! know every name and end with the file. It also proves the version of the block layouts, on which sizes depend.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use gristmill_tensor::{
    ByteSource, Cursor, DType, Error, HeaderField, HeaderLayout, Metadata, OpenContext, Result,
    TensorInfo, keys,
};

use crate::magic::{self, Magic};
use crate::{FORMAT, Known, header, record, vocab};

/// Q5_1, the last file type that llama.cpp and ggml's examples number alike.
const LAST_COMMON_FILE_TYPE: u32 = 9;

/// A file read in one way.
pub(crate) struct Reading {
    pub(crate) magic: Magic,
    pub(crate) layout: &'static HeaderLayout,
    pub(crate) metadata: Metadata,
    pub(crate) tensors: Vec<(TensorInfo, u64)>,
    /// Whether there are as many tokens as the header says.
    complete: bool,
}

/// Reads `source`, whose magic is `magic`, in the one way that makes sense.
pub(crate) fn read(
    source: &dyn ByteSource,
    magic: Magic,
    known: Known,
    context: &OpenContext,
) -> Result<Reading> {
    let wanted = |layout: &&&HeaderLayout| {
        let asked = context.architecture.as_deref();
        layout.containers.contains(&magic.container)
            && asked.is_none_or(|asked| asked == layout.architecture)
    };
    let layouts = (known.headers)();
    let candidates: Vec<&'static HeaderLayout> = layouts.iter().filter(wanted).copied().collect();
    if candidates.is_empty() {
        let asked = context.architecture.as_deref().unwrap_or("any architecture");
        let what = format!("no {} file of {asked} is known; leave out --arch", magic.title());
        return Err(Error::unsupported(source.name(), FORMAT, what));
    }
    let mut readings = Vec::new();
    let mut failures = Vec::new();
    for layout in candidates {
        match read_as(source, magic, layout, known) {
            Ok(reading) => readings.push(reading),
            Err(error @ (Error::Io { .. } | Error::Limit { .. })) => return Err(error),
            Err(error) => failures.push((layout, error)),
        }
    }
    let mut readings = likeliest(readings);
    match readings.len() {
        1 => Ok(readings.remove(0)),
        0 => Err(nearest(source, magic, failures)),
        _ => {
            let names: Vec<&str> = readings.iter().map(|r| r.layout.architecture).collect();
            let what = format!(
                "the file can be read as {}; say which it is with --arch",
                names.join(" and as ")
            );
            Err(Error::unsupported(source.name(), FORMAT, what))
        }
    }
}

/// The readings between which only the user can choose: one of each architecture, whose layout is listed first.
fn likeliest(mut readings: Vec<Reading>) -> Vec<Reading> {
    // Lengths read from the wrong place may fall into step again behind some tokens; then tokens are missing.
    if readings.iter().any(|reading| reading.complete) {
        readings.retain(|reading| reading.complete);
    }
    let mut seen = Vec::new();
    readings.retain(|reading| {
        let architecture = reading.layout.architecture;
        let is_new = !seen.contains(&architecture);
        seen.push(architecture);
        is_new
    });
    readings
}

fn read_as(
    source: &dyn ByteSource,
    magic: Magic,
    layout: &'static HeaderLayout,
    known: Known,
) -> Result<Reading> {
    let mut cursor = Cursor::new(source, FORMAT);
    magic::read(&mut cursor, &source.name())?;
    let mut metadata = Metadata::new(source.name());
    let header = header::read(&mut cursor, layout, &mut metadata)?;
    // Converters of other tools count the version in the file type as well.
    let counted = header.quant_version;
    let quant_version = magic.quant_version(layout, counted);
    if counted != 0 && counted != quant_version {
        let what = format!(
            "the container has version {quant_version} of the block layouts and the file type version {counted}"
        );
        return Err(cursor.malformed(what));
    }
    let knows = |name: &str| (known.is_tensor)(layout.architecture, name);
    let vocab = vocab::read(
        &mut cursor,
        header.n_vocab,
        layout.vocabulary,
        magic.has_scores(),
        |cursor| record::begins(cursor, &knows),
    )?;
    let complete = vocab.texts.len() == header.n_vocab as usize;
    if layout.fields.contains(&HeaderField::NMerges) {
        vocab::read_merges(&mut cursor, header.n_merges, &mut metadata)?;
    }
    vocab.describe(layout.vocabulary, &mut metadata);
    let is_aligned = magic.is_aligned() && layout.aligned;
    let start = cursor.position();
    let mut walk = |dtype: &dyn Fn(u32) -> Option<DType>| {
        cursor.seek(start);
        record::read_all(&mut cursor, dtype, is_aligned, &knows)
    };
    let tensors = match walk(&|id| record::dtype(id, quant_version)) {
        Err(error) if quant_version == 0 => walk(&record::dtype_of_april).or(Err(error)),
        tensors => tensors,
    }?;
    if header.file_type <= LAST_COMMON_FILE_TYPE || magic.is_llama_cpp(layout) {
        metadata.set(keys::FILE_TYPE, header.file_type);
    }
    if tensors.iter().any(|(info, _)| info.dtype.is_quantized()) {
        metadata.set(keys::QUANTIZATION_VERSION, quant_version);
    }
    Ok(Reading { magic, layout, metadata, tensors, complete })
}

/// The failure that came furthest, which is most likely what is wrong with the file.
fn nearest(
    source: &dyn ByteSource,
    magic: Magic,
    failures: Vec<(&'static HeaderLayout, Error)>,
) -> Error {
    let place = |error: &Error| match error {
        Error::Malformed { offset, .. } => *offset,
        _ => 0,
    };
    let furthest = failures.into_iter().max_by_key(|(_, error)| place(error));
    let Some((layout, error)) = furthest else {
        return Error::unsupported(source.name(), FORMAT, "no architecture has such files");
    };
    match error {
        Error::Malformed { file, format, offset, what } => {
            let (title, name) = (magic.title(), layout.architecture);
            let what = format!("read as {title} of {name}, the likeliest: {what}");
            Error::Malformed { file, format, offset, what }
        }
        other => other,
    }
}
