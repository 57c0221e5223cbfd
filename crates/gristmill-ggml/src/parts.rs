//! LLaMA models in several files: `model.bin`, `model.bin.1`, `model.bin.2`, …
//!
//! The first converters kept Meta's division for several GPUs. Every part has the whole header and vocabulary and its
//! share of every matrix: some columns of those that gather (`tok_embeddings`, `wo`, `w2`), some rows of the others.
//! Vectors are in every part whole.

use std::ops::Range;
use std::path::{Path, PathBuf};

use gristmill_tensor::{
    Bytes, Checkpoint, Error, Metadata, Result, Shape, TensorIndex, TensorInfo, keys,
};

use crate::FORMAT;

/// The part files of the model that `path` belongs to, in order, if there are several: those that are there.
pub fn part_paths(path: &Path) -> Option<Vec<PathBuf>> {
    let name = path.file_name()?.to_str()?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let first = match name.rsplit_once('.') {
        Some((base, number)) if is_number(number) && base.contains('.') => {
            path.with_file_name(base)
        }
        _ => path.to_path_buf(),
    };
    let numbered = |number: usize| {
        let mut name = first.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    let others = (1..).map(numbered).take_while(|part| part.exists());
    let parts: Vec<PathBuf> = [first.clone()].into_iter().chain(others).collect();
    (parts.len() > 1).then_some(parts)
}

/// The model whose parts these are; of a single part, which must be a whole model, itself.
///
/// # Errors
/// [`Error::Missing`] when parts are missing, [`Error::Malformed`] when they do not belong together.
pub fn join(mut parts: Vec<Box<dyn Checkpoint>>) -> Result<Box<dyn Checkpoint>> {
    let Some(first) = parts.first() else {
        return Err(Error::missing("", "the model"));
    };
    let needed = n_parts(&**first)?;
    if needed > parts.len() {
        return Err(Error::Missing {
            file: first.name(),
            what: format!("{} of {needed} parts", needed - parts.len()),
            hint: "; put the files ending in .1, .2 and so on beside it".into(),
        });
    }
    // Files that happen to be called like further parts are not the model's.
    parts.truncate(needed);
    match parts.len() {
        1 => Ok(parts.remove(0)),
        _ => Ok(Box::new(Joined::new(parts)?)),
    }
}

/// How many parts make the model: each has its share of the columns of the embedding.
fn n_parts(first: &dyn Checkpoint) -> Result<usize> {
    let Some(embedding) = first.find(EMBEDDING) else { return Ok(1) };
    let key = keys::arch("llama", keys::EMBEDDING_LENGTH);
    let Some(n_embd) = first.metadata().get_usize(&key)? else { return Ok(1) };
    let share = embedding.shape.row_len();
    Ok(if share < n_embd && n_embd.is_multiple_of(share) { n_embd / share } else { 1 })
}

const EMBEDDING: &str = "tok_embeddings.weight";

/// How a tensor is divided among the parts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Division {
    /// Every part has it whole.
    Whole,
    /// Row for row, the parts' columns follow each other.
    Columns,
    /// The parts' rows follow each other.
    Rows,
}

impl Division {
    fn of(info: &TensorInfo) -> Division {
        let by_columns = [EMBEDDING, "attention.wo.weight", "feed_forward.w2.weight"];
        if info.shape.rank() < 2 {
            Division::Whole
        } else if by_columns.iter().any(|name| info.name.ends_with(name)) {
            Division::Columns
        } else {
            Division::Rows
        }
    }
}

/// A model in several parts.
struct Joined {
    parts: Vec<Box<dyn Checkpoint>>,
    index: TensorIndex,
}

impl Joined {
    fn new(parts: Vec<Box<dyn Checkpoint>>) -> Result<Joined> {
        let first = &*parts[0];
        for part in &parts[1..] {
            let malformed = |what: String| Err(Error::malformed(part.name(), FORMAT, 0, what));
            if part.metadata().iter().ne(first.metadata().iter()) {
                return malformed(format!(
                    "the header or vocabulary is not that of {}",
                    first.name()
                ));
            }
            if part.tensors().len() != first.tensors().len() {
                return malformed(format!("there are not as many tensors as in {}", first.name()));
            }
            let pairs = part.tensors().iter().zip(first.tensors());
            if let Some((other, _)) = pairs.into_iter().find(|(a, b)| a != b) {
                return malformed(format!(
                    "tensor {} is not like that of {}",
                    other.name,
                    first.name()
                ));
            }
        }
        let infos = first.tensors().iter().map(|info| {
            let mut dims = info.shape.dims().to_vec();
            let axis = match Division::of(info) {
                Division::Whole => None,
                Division::Rows => dims.first_mut(),
                Division::Columns => dims.last_mut(),
            };
            if let Some(extent) = axis {
                *extent = extent.saturating_mul(parts.len());
            }
            TensorInfo { shape: Shape::new(dims), ..info.clone() }
        });
        let index = TensorIndex::new(infos.collect()).map_err(|name| {
            Error::malformed(first.name(), FORMAT, 0, format!("tensor {name} occurs twice"))
        })?;
        Ok(Joined { parts, index })
    }

    fn first(&self) -> &dyn Checkpoint {
        &*self.parts[0]
    }
}

impl Checkpoint for Joined {
    fn format(&self) -> String {
        format!("{}, {} parts", self.first().format(), self.parts.len())
    }

    fn name(&self) -> String {
        self.first().name()
    }

    fn metadata(&self) -> &Metadata {
        self.first().metadata()
    }

    fn index(&self) -> &TensorIndex {
        &self.index
    }

    fn read_rows(&self, position: usize, rows: Range<usize>) -> Result<Bytes> {
        let share = &self.first().tensors()[position];
        match Division::of(share) {
            Division::Whole => self.first().read_rows(position, rows),
            Division::Columns => {
                let parts: Vec<Bytes> = (self.parts.iter())
                    .map(|part| part.read_rows(position, rows.clone()))
                    .collect::<Result<_>>()?;
                let row_bytes = share.row_bytes();
                let mut joined = Vec::with_capacity(rows.len() * row_bytes * parts.len());
                for row in 0..rows.len() {
                    for part in &parts {
                        joined.extend_from_slice(&part[row * row_bytes..][..row_bytes]);
                    }
                }
                Ok(joined.into())
            }
            Division::Rows => {
                let n_rows = share.shape.rows();
                let mut joined = Vec::with_capacity(rows.len() * share.row_bytes());
                for (number, part) in self.parts.iter().enumerate() {
                    let start = rows.start.clamp(number * n_rows, (number + 1) * n_rows);
                    let end = rows.end.clamp(number * n_rows, (number + 1) * n_rows);
                    if start < end {
                        let own = start - number * n_rows..end - number * n_rows;
                        joined.extend_from_slice(&part.read_rows(position, own)?);
                    }
                }
                Ok(joined.into())
            }
        }
    }
}
