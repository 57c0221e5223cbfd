//! The opened file: tensors, their layouts, and the storages they are views of.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use gristmill_tensor::{
    ByteSource, Bytes, Checkpoint, Endian, Error, Limits, Metadata, Result, Shape, TensorIndex,
    TensorInfo,
};

use crate::FORMAT;
use crate::rebuild::StateDict;
use crate::strided::Layout;

/// How much larger than the file the tensors may be that claim more bytes than their storages have: times this,
/// plus [`SLACK`]. A tensor of stride 0 repeats one element as often as it likes.
const MAX_GROWTH: u64 = 64;
const SLACK: u64 = 1 << 20;

/// A PyTorch checkpoint of either container.
pub(crate) struct TorchCheckpoint {
    format: &'static str,
    name: String,
    metadata: Metadata,
    index: TensorIndex,
    /// For each tensor, the position of its storage and its place there.
    views: Vec<(usize, Layout)>,
    /// For each tensor, the position of an earlier one that is the same view.
    aliases: Vec<Option<usize>>,
    storages: Vec<Arc<dyn ByteSource>>,
    endian: Endian,
}

impl TorchCheckpoint {
    /// Joins the tensors of `state` with their storages, one source for each of `state.storages` and exactly as
    /// long. `file` is the whole file.
    pub(crate) fn new(
        format: &'static str,
        file: &dyn ByteSource,
        state: StateDict,
        storages: Vec<Arc<dyn ByteSource>>,
        endian: Endian,
    ) -> Result<TorchCheckpoint> {
        let name = file.name();
        let malformed = |what: String| Error::malformed(&name, FORMAT, 0, what);
        for (storage, source) in state.storages.iter().zip(&storages) {
            if storage.n_bytes() != Some(source.len()) {
                return Err(malformed(format!(
                    "storage {:?} has {} bytes but should have {} elements of {} bytes; the file is damaged",
                    storage.key,
                    source.len(),
                    storage.numel,
                    storage.width()
                )));
            }
        }
        let mut infos = Vec::with_capacity(state.tensors.len());
        let mut views = Vec::with_capacity(state.tensors.len());
        let mut aliases = Vec::with_capacity(state.tensors.len());
        let mut first_of = HashMap::new();
        let mut grown = 0u64;
        for view in state.tensors {
            let info = TensorInfo::new(view.name, view.dtype, Shape::new(view.layout.dims.clone()));
            let n_bytes = info.shape.checked_numel().and_then(|_| info.checked_bytes());
            let n_bytes = n_bytes.filter(|&n| usize::try_from(n).is_ok()).ok_or_else(|| {
                malformed(format!("tensor {} is larger than any memory: {}", info.name, info.shape))
            })?;
            if n_bytes > storages[view.storage].len() {
                grown = grown.saturating_add(n_bytes);
                let what = format!("the size of tensor {}, repeats written out,", info.name);
                let limit = file.len().saturating_mul(MAX_GROWTH).saturating_add(SLACK);
                Limits::check(&name, &what, limit, grown)?;
            }
            let key = (view.storage, info.dtype, view.layout.clone());
            let first = *first_of.entry(key).or_insert(infos.len());
            aliases.push((first != infos.len() && n_bytes > 0).then_some(first));
            infos.push(info);
            views.push((view.storage, view.layout));
        }
        let index = TensorIndex::new(infos)
            .map_err(|tensor| malformed(format!("tensor {tensor} occurs twice")))?;
        let metadata = Metadata::new(&name);
        Ok(TorchCheckpoint { format, name, metadata, index, views, aliases, storages, endian })
    }
}

impl Checkpoint for TorchCheckpoint {
    fn format(&self) -> String {
        self.format.into()
    }

    fn name(&self) -> String {
        self.name.clone()
    }

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn index(&self) -> &TensorIndex {
        &self.index
    }

    fn read_rows(&self, position: usize, rows: Range<usize>) -> Result<Bytes> {
        let (storage, layout) = &self.views[position];
        let width = self.tensors()[position].dtype.block_bytes();
        let bytes = layout.read(rows, width, &*self.storages[*storage])?;
        Ok(match self.endian {
            Endian::Little => bytes,
            Endian::Big => swapped(&bytes, width),
        })
    }

    fn alias_of(&self, name: &str) -> Option<&str> {
        let first = self.aliases[self.index.position(name)?]?;
        Some(&self.index.infos()[first].name)
    }
}

/// Elements of `width` bytes in the other byte order.
fn swapped(bytes: &[u8], width: usize) -> Bytes {
    let mut bytes = bytes.to_vec();
    bytes.chunks_exact_mut(width).for_each(<[u8]>::reverse);
    Bytes::from(bytes)
}

/// A part of a file as a source of its own: a storage.
pub(crate) struct Slice {
    source: Arc<dyn ByteSource>,
    range: Range<u64>,
}

impl Slice {
    /// `range` must lie inside `source`.
    pub(crate) fn new(source: &Arc<dyn ByteSource>, range: Range<u64>) -> Slice {
        Slice { source: Arc::clone(source), range }
    }
}

impl ByteSource for Slice {
    fn len(&self) -> u64 {
        self.range.end - self.range.start
    }

    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        gristmill_tensor::check_range(self, &range)?;
        self.source.read(self.range.start + range.start..self.range.start + range.end)
    }

    fn name(&self) -> String {
        self.source.name()
    }

    fn is_mapped(&self) -> bool {
        self.source.is_mapped()
    }
}
