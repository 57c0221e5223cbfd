//! An opened legacy file: the header in memory, the tensors read when asked for.

use std::ops::Range;
use std::sync::Arc;

use gristmill_tensor::{
    ByteSource, Bytes, Checkpoint, Container, Cursor, Metadata, OpenContext, Result, StoredTensors,
    TensorIndex,
};

use crate::magic::Magic;
use crate::{FORMAT, Known, detect, magic, planar, record};

/// One file of the ggml family, opened for reading.
pub struct Reader {
    title: String,
    metadata: Metadata,
    tensors: StoredTensors,
    /// Whether quantized rows are planar.
    planar: bool,
}

/// Rows by which planar files are known.
const PROBED_ROWS: usize = 16;

impl Reader {
    pub(crate) fn new(
        source: Arc<dyn ByteSource>,
        known: Known,
        context: &OpenContext,
    ) -> Result<Reader> {
        let mut cursor = Cursor::new(&*source, FORMAT);
        let Some(magic) = magic::read(&mut cursor, &source.name())? else {
            return Reader::adapter(Arc::clone(&source));
        };
        let reading = detect::read(&*source, magic, known, context)?;
        let mut title = format!("{} ({})", reading.magic.title(), reading.layout.producer);
        let tensors = StoredTensors::new(source, FORMAT, reading.tensors)?;
        let planar = is_planar(reading.magic, &tensors)?;
        if planar {
            title.push_str(", planar rows of before mid-March 2023");
        }
        Ok(Reader { title, metadata: reading.metadata, tensors, planar })
    }

    /// A LoRA adapter of llama.cpp (GGLA): two numbers, then tensors named after those that they change.
    fn adapter(source: Arc<dyn ByteSource>) -> Result<Reader> {
        let mut cursor = Cursor::new(&*source, FORMAT);
        magic::read(&mut cursor, &source.name())?;
        let (rank, alpha) = (cursor.u32()?, cursor.i32()?);
        let mut metadata = Metadata::new(source.name());
        metadata.set(gristmill_tensor::keys::TYPE, "adapter");
        metadata.set("adapter.type", "lora");
        metadata.set("adapter.lora.rank", rank);
        metadata.set("adapter.lora.alpha", alpha as f32);
        let is_factor = |name: &str| name.ends_with(".loraA") || name.ends_with(".loraB");
        let tensors = record::read_all(&mut cursor, &|id| record::dtype(id, 2), true, &is_factor)?;
        let tensors = StoredTensors::new(source, FORMAT, tensors)?;
        let title = "GGLA v1 (llama.cpp LoRA adapter)".into();
        Ok(Reader { title, metadata, tensors, planar: false })
    }

    /// Where the data of the tensor called `name` stands, in bytes from the start of the file.
    pub fn byte_range(&self, name: &str) -> Option<Range<u64>> {
        self.tensors.byte_range(name)
    }
}

impl Checkpoint for Reader {
    fn format(&self) -> String {
        self.title.clone()
    }

    fn name(&self) -> String {
        self.tensors.source().name()
    }

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn index(&self) -> &TensorIndex {
        self.tensors.index()
    }

    fn read_rows(&self, position: usize, rows: Range<usize>) -> Result<Bytes> {
        let bytes = self.tensors.read_rows(position, rows)?;
        let info = &self.tensors()[position];
        match self.planar && planar::may_be(info) {
            true => Ok(planar::to_blocks(info, &bytes).into()),
            false => Ok(bytes),
        }
    }
}

/// Whether the quantized rows of an unversioned file are planar, by the first that could be.
fn is_planar(magic: Magic, tensors: &StoredTensors) -> Result<bool> {
    let infos = tensors.index().infos();
    let probe = infos.iter().position(planar::may_be);
    let Some(position) = probe.filter(|_| magic.container == Container::Ggml) else {
        return Ok(false);
    };
    let info = &infos[position];
    let rows = tensors.read_rows(position, 0..info.shape.rows().min(PROBED_ROWS))?;
    Ok(planar::is_planar(info, &rows))
}
