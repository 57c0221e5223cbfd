//! LoRA adapters of llama.cpp, which are no models but can be looked at.

use std::sync::Arc;

use gristmill_ggml::Ggml;
use gristmill_tensor::{Checkpoint, Format, MemorySource, OpenContext};

/// An adapter of one tensor, a vector of eight elements, with this `alpha`.
fn adapter(alpha: i32) -> Vec<u8> {
    let name = b"norm.weight.loraA";
    let mut bytes = b"algg".to_vec();
    for word in [1, 4, alpha, 1, name.len() as i32, 0, 8] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(name);
    bytes.resize(bytes.len().next_multiple_of(32) + 32, 0);
    bytes
}

fn open(bytes: Vec<u8>) -> Box<dyn Checkpoint> {
    let format = Ggml::new(Vec::new, |_, _| false);
    let source = Arc::new(MemorySource::new("adapter.bin", bytes));
    format.open(source, &OpenContext::default()).unwrap()
}

#[test]
fn an_adapter_may_take_its_change_away() {
    for alpha in [16, -2] {
        let model = open(adapter(alpha));
        let read = model.metadata().get_f32("adapter.lora.alpha").unwrap();
        assert_eq!(read, Some(alpha as f32));
        assert_eq!(model.tensors().len(), 1);
    }
}
