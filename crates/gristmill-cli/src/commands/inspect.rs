//! `inspect`: what a file is and holds.

use std::collections::BTreeMap;

use gristmill::Identity;
use gristmill::tensor::{DType, MetaArray, MetaValue, TensorInfo};
use serde_json::{Map, Value, json};

use crate::args::Inspect;
use crate::exit::Result;
use crate::human;
use crate::model::Inspected;
use crate::output::say;

/// Prints what the file is and, if it is a model, the description of it.
pub(crate) fn run(args: Inspect) -> Result {
    let identity = gristmill::identify(&args.file)?;
    let inspected = Inspected::open(&args.file, &args.source_args);
    if args.json {
        let mut object = inspected.as_ref().map_or(json!({}), as_json);
        object["identity"] = identity_json(&identity);
        say!("{object}");
    } else {
        print_identity(&identity);
        inspected.iter().for_each(print);
    }
    match inspected {
        // Saying what it is instead of a model is all that is wanted.
        Ok(_) | Err(gristmill::Error::Unrecognized { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn print_identity(identity: &Identity) {
    let Identity { what, written_by, read_by, next } = identity;
    for (label, value) in
        [("what", &**what), ("written by", written_by), ("read by", read_by), ("next", next)]
    {
        if !value.is_empty() {
            say!("{label:<13} {value}");
        }
    }
}

fn identity_json(identity: &Identity) -> Value {
    let Identity { what, written_by, read_by, next } = identity;
    json!({ "what": what, "written_by": written_by, "read_by": read_by, "next": next })
}

/// Tensors and bytes of one type.
#[derive(Default)]
struct Share {
    tensors: usize,
    bytes: u64,
}

fn shares(tensors: &[TensorInfo]) -> Vec<(DType, Share)> {
    let mut by_type: BTreeMap<DType, Share> = BTreeMap::new();
    for info in tensors {
        let share = by_type.entry(info.dtype).or_default();
        share.tensors += 1;
        share.bytes += info.n_bytes();
    }
    let mut list: Vec<_> = by_type.into_iter().collect();
    list.sort_by_key(|(_, share)| std::cmp::Reverse(share.bytes));
    list
}

fn parameters(tensors: &[TensorInfo]) -> u64 {
    tensors.iter().map(|info| info.shape.numel() as u64).sum()
}

fn print(inspected: &Inspected) {
    let checkpoint = &*inspected.checkpoint;
    let tensors = checkpoint.tensors();
    let line = |label: &str, value: &str| say!("{label:<13} {value}");
    line("file", &checkpoint.name());
    line("format", &checkpoint.format());
    if let Some(architecture) = inspected.architecture() {
        line("architecture", architecture);
    }
    line("parameters", &human::parameters(parameters(tensors)));
    if let Some(tokenizer) = &inspected.tokenizer {
        line("tokenizer", &format!("{}, {} tokens", tokenizer.kind(), tokenizer.n_vocab()));
    }
    for problem in &inspected.problems {
        line("note", problem);
    }
    let total: u64 = tensors.iter().map(TensorInfo::n_bytes).sum();
    line("weights", &human::bytes(total));
    for (dtype, share) in shares(tensors) {
        let percent = 100.0 * share.bytes as f64 / total.max(1) as f64;
        say!(
            "  {:<8} {:>5} tensors {:>10}  {percent:5.1} %",
            dtype.name(),
            share.tensors,
            human::bytes(share.bytes)
        );
    }
    let metadata = checkpoint.metadata();
    if !metadata.is_empty() {
        say!("\nmetadata");
        for (key, value) in metadata.iter() {
            say!("  {key} = {}", one_line(&value.to_string()));
        }
    }
    say!("\ntensors");
    let width = tensors.iter().map(|info| info.name.len()).max().unwrap_or(0);
    for info in tensors {
        say!("  {:<width$}  {:<6} {}", info.name, info.dtype, info.shape);
    }
}

/// Long texts, such as chat templates, shortened to a line.
fn one_line(text: &str) -> String {
    const LIMIT: usize = 160;
    let mut line: String = text.chars().take(LIMIT).flat_map(char::escape_debug).collect();
    if text.chars().count() > LIMIT {
        line.push('…');
    }
    line.replace("\\\"", "\"").replace("\\'", "'")
}

fn as_json(inspected: &Inspected) -> Value {
    let checkpoint = &*inspected.checkpoint;
    let tensors = checkpoint.tensors();
    let metadata: Map<String, Value> = checkpoint
        .metadata()
        .iter()
        .map(|(key, value)| (key.to_string(), meta_json(value)))
        .collect();
    let types: Map<String, Value> = shares(tensors)
        .into_iter()
        .map(|(dtype, share)| {
            (dtype.name().to_string(), json!({ "tensors": share.tensors, "bytes": share.bytes }))
        })
        .collect();
    let tensor_list: Vec<Value> = tensors
        .iter()
        .map(|info| {
            json!({
                "name": info.name,
                "type": info.dtype.name(),
                "shape": info.shape.dims(),
                "bytes": info.n_bytes(),
            })
        })
        .collect();
    json!({
        "file": checkpoint.name(),
        "format": checkpoint.format(),
        "architecture": inspected.architecture(),
        "parameters": parameters(tensors),
        "tokenizer": inspected.tokenizer.as_ref().map(|tokenizer| json!({
            "kind": tokenizer.kind(),
            "n_vocab": tokenizer.n_vocab(),
            "bos": tokenizer.bos(),
            "eos": tokenizer.eos(),
        })),
        "notes": inspected.problems,
        "metadata": metadata,
        "types": types,
        "tensors": tensor_list,
    })
}

fn meta_json(value: &MetaValue) -> Value {
    match value {
        MetaValue::U8(v) => json!(v),
        MetaValue::I8(v) => json!(v),
        MetaValue::U16(v) => json!(v),
        MetaValue::I16(v) => json!(v),
        MetaValue::U32(v) => json!(v),
        MetaValue::I32(v) => json!(v),
        MetaValue::F32(v) => json!(v),
        MetaValue::Bool(v) => json!(v),
        MetaValue::String(v) => json!(v),
        MetaValue::U64(v) => json!(v),
        MetaValue::I64(v) => json!(v),
        MetaValue::F64(v) => json!(v),
        MetaValue::Array(MetaArray::Bytes(values)) => {
            values.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect()
        }
        MetaValue::Array(values) => {
            (0..values.len()).filter_map(|index| values.get(index)).map(|v| meta_json(&v)).collect()
        }
    }
}
