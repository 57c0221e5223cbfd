//! Files without a magic of their own, told by the structure of their first bytes.

use serde_json::Value;

use super::{BESIDE, Identity, ORIGINAL, UNPACK};

/// More than any header of safetensors may have.
const MAX_SAFETENSORS_HEADER: u64 = 100_000_000;

/// Safetensors have a length and a JSON object of that length, which says how much data follows.
pub(super) fn safetensors(head: &[u8], len: u64) -> Option<Identity> {
    let (header_len, json) = head.split_first_chunk()?;
    let header_len = u64::from_le_bytes(*header_len);
    if !json.starts_with(b"{") || !(2..=MAX_SAFETENSORS_HEADER).contains(&header_len) {
        return None;
    }
    let identity = Identity {
        written_by: "Transformers and most training programs",
        read_by: "Transformers, gristmill, and with the folder's config.json most converters",
        ..Identity::new("this is a safetensors file, or a shard of a model in several", BESIDE)
    };
    let header = usize::try_from(header_len).ok().and_then(|header_len| json.get(..header_len));
    let data_len = header.and_then(data_len).unwrap_or(0);
    Some(identity.unless_cut_short(len, (8 + header_len).saturating_add(data_len)))
}

/// How many bytes of data a header of safetensors describes.
fn data_len(header: &[u8]) -> Option<u64> {
    let header: Value = serde_json::from_slice(header).ok()?;
    header.as_object()?.values().filter_map(|entry| entry["data_offsets"][1].as_u64()).max()
}

/// The least that a GGUF file takes with as many tensors and pairs as its header counts; 0 for other files.
pub(super) fn least_gguf(head: &[u8]) -> u64 {
    // By version: bytes of a count, of the smallest tensor, of the smallest pair.
    let (width, smallest) = match head.strip_prefix(b"GGUF").and_then(<[u8]>::first_chunk) {
        Some([1, 0, 0, 0]) => (4, [25, 10]),
        Some([2 | 3, 0, 0, 0]) => (8, [33, 14]),
        _ => return 0,
    };
    let bytes_of = |nth: usize| {
        let at = 8 + nth * width;
        let mut count = [0; 8];
        count[..width].copy_from_slice(head.get(at..at + width)?);
        Some(u64::from_le_bytes(count).saturating_mul(smallest[nth]))
    };
    let [tensors, pairs] = [0, 1].map(|nth| bytes_of(nth).unwrap_or(0));
    (8 + 2 * width as u64).saturating_add(tensors).saturating_add(pairs)
}

/// A zip is what its first members are.
pub(super) fn zip(head: &[u8]) -> Option<Identity> {
    if !head.starts_with(b"PK") {
        return None;
    }
    Some(if contains(head, b"constants.pkl") {
        Identity {
            written_by: "torch.jit.save",
            read_by: "PyTorch",
            ..Identity::new(
                "this is a TorchScript program with its weights",
                "save its state_dict() with PyTorch, torch.save(torch.jit.load(…).state_dict(), …)",
            )
        }
    } else if contains(head, b"data.pkl") {
        Identity {
            written_by: "torch.save since PyTorch 1.6",
            read_by: "PyTorch, gristmill",
            ..Identity::new("this is a PyTorch checkpoint", BESIDE)
        }
    } else if contains(head, b".npy") {
        let what = "these are NumPy arrays in a zip archive, not a checkpoint";
        Identity { written_by: "NumPy", read_by: "NumPy", ..Identity::new(what, ORIGINAL) }
    } else if contains(head, b"model.weights.h5") {
        let what = "this is a Keras model";
        Identity { written_by: "Keras", read_by: "Keras", ..Identity::new(what, ORIGINAL) }
    } else {
        Identity::new("this is a zip archive, not one that PyTorch wrote", UNPACK)
    })
}

/// A tar is what its first member is.
pub(super) fn tar(head: &[u8]) -> Option<Identity> {
    if head.get(257..262) != Some(b"ustar") {
        return None;
    }
    let members: [&[u8]; 4] = [b"sys_info\0", b"pickle\0", b"storages\0", b"tensors\0"];
    Some(match members.iter().any(|member| head.starts_with(member)) {
        true => Identity {
            written_by: "torch.save up to PyTorch 0.1",
            ..Identity::new(
                "this is a checkpoint of PyTorch 0.1, a tar archive",
                "only that version can load it and save it again",
            )
        },
        false => Identity::new("this is a tar archive", UNPACK),
    })
}

/// Messages of protocol buffers have no magic, but these begin with fields that are always there.
pub(super) fn protobuf(head: &[u8]) -> Option<Identity> {
    match *head {
        // The version of the schema, 1, and a graph.
        [0x08, 0x01, 0x12, ..] => {
            let what = "this looks like a TensorFlow SavedModel, whose weights are in other files";
            Some(Identity { written_by: "TensorFlow", ..Identity::new(what, ORIGINAL) })
        }
        // The version, and the producer's name or the graph.
        [0x08, 0x03..=0x20, 0x12 | 0x3a, ..] => Some(Identity {
            written_by: "exporters of PyTorch and others",
            read_by: "ONNX Runtime",
            ..Identity::new("this looks like an ONNX model", ORIGINAL)
        }),
        // The first piece, and its text within it.
        [0x0a, piece, 0x0a, text, ..] if text < piece && contains(head, b"<unk>") => {
            Some(Identity {
                written_by: "SentencePiece",
                ..Identity::new(
                    "this is a tokenizer (tokenizer.model), not a model",
                    "give the folder that it lies in",
                )
            })
        }
        _ => None,
    }
}

/// Flax keeps a map of maps whose keys are names.
pub(super) fn msgpack(head: &[u8]) -> Option<Identity> {
    let (&[map, text], rest) = head.split_first_chunk()?;
    let name = rest.get(..usize::from(text & 0x1f))?;
    let is_map = matches!(map, 0x81..=0x8f) && matches!(text, 0xa1..=0xbf);
    let is_name = name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    (is_map && is_name).then(|| {
        let what = "this looks like the weights of Flax (flax_model.msgpack)";
        Identity { written_by: "Flax", read_by: "Flax", ..Identity::new(what, ORIGINAL) }
    })
}

/// Flat buffers begin with a place and then say what they are.
pub(super) fn flatbuffer(head: &[u8]) -> Option<Identity> {
    (head.get(4..8) == Some(b"TFL3")).then(|| Identity {
        written_by: "TensorFlow Lite, LiteRT",
        read_by: "TensorFlow Lite, LiteRT",
        ..Identity::new("this is a TFLite model", ORIGINAL)
    })
}

fn contains(head: &[u8], needle: &[u8]) -> bool {
    head.windows(needle.len()).any(|window| window == needle)
}
