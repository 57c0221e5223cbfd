//! An opened legacy file: the header in memory, the tensors read when asked for.

use std::ops::Range;
use std::sync::Arc;

use gristmill_tensor::{
    ByteSource, Bytes, Checkpoint, Cursor, Metadata, OpenContext, Result, StoredTensors,
    TensorIndex,
};

use crate::{FORMAT, Known, detect, magic, record};

/// One file of the ggml family, opened for reading.
pub struct Reader {
    title: String,
    metadata: Metadata,
    tensors: StoredTensors,
}

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
        let title = format!("{} ({})", reading.magic.title(), reading.layout.producer);
        let tensors = StoredTensors::new(source, FORMAT, reading.tensors)?;
        Ok(Reader { title, metadata: reading.metadata, tensors })
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
        Ok(Reader { title: "GGLA v1 (llama.cpp LoRA adapter)".into(), metadata, tensors })
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
        self.tensors.read_rows(position, rows)
    }
}
