//! Whole tensors quantized by llama.cpp, compared byte for byte with ours.
//!
//! The files are not in the repository: the variable `GRISTMILL_ORACLE` names the folder that holds them. To know
//! which weight became which tensor is the business of other crates, so here a tensor passes when *some* weight of
//! the checkpoint, or its transpose, gives exactly its bytes. Tensors whose rows are rearranged by conversion cannot
//! be found that way and are listed.

use std::fs;

use gristmill_quant::codec;
use gristmill_tensor::DType;

#[test]
fn llama_q8_0() {
    let rearranged = ["blk.0.attn_k", "blk.0.attn_q", "blk.1.attn_k", "blk.1.attn_q"];
    compare(
        "gguf/llama-json/llama-json.Q8_0.gguf",
        "models/llama-json/st-f32/model.safetensors",
        &rearranged,
    );
}

#[test]
fn llama_bf16() {
    let rearranged = ["blk.0.attn_k", "blk.0.attn_q", "blk.1.attn_k", "blk.1.attn_q"];
    compare(
        "gguf/llama-json/llama-json.bf16.gguf",
        "models/llama-json/st-f32/model.safetensors",
        &rearranged,
    );
}

#[test]
fn bloom_q8_0() {
    let rearranged = ["blk.0.attn_qkv", "blk.1.attn_qkv"];
    compare(
        "gguf/bloom-a/bloom-a.Q8_0.gguf",
        "models/bloom-a/st-f32/model.safetensors",
        &rearranged,
    );
}

#[test]
fn bloom_f16() {
    let rearranged = ["blk.0.attn_qkv", "blk.1.attn_qkv"];
    compare(
        "gguf/bloom-a/bloom-a.f16.gguf",
        "models/bloom-a/st-f32/model.safetensors",
        &rearranged,
    );
}

#[test]
fn gpt2_q5_1() {
    compare("gguf/gpt2-a/gpt2-a.Q5_1.gguf", "models/gpt2-a/bin-f32/pytorch_model.bin", &[]);
}

#[test]
fn gpt2_q8_0() {
    compare("gguf/gpt2-a/gpt2-a.q8_0.gguf", "models/gpt2-a/bin-f32/pytorch_model.bin", &[]);
}

#[test]
fn micro_llama_q4_0() {
    // Made from f32 weights of which only the f16 rounding is here; these tensors differ by it in a few codes.
    let unlike =
        ["output", "token_embd", "blk.0.attn_k", "blk.0.attn_q", "blk.0.ffn_down", "blk.0.ffn_up"];
    compare(
        "gguf/micro-llama/micro-llama.Q4_0.gguf",
        "models/micro-llama/st-f16/model.safetensors",
        &unlike,
    );
}

/// Asserts that all matrices of the GGUF file but `unlike` are found among the quantized weights of the checkpoint.
fn compare(gguf: &str, checkpoint: &str, unlike: &[&str]) {
    let Some(folder) = gristmill_testkit::oracle(gguf) else { return };
    let bytes = fs::read(folder.join(checkpoint)).unwrap();
    let weights = if checkpoint.ends_with(".safetensors") {
        safetensors_weights(&bytes)
    } else {
        zip_weights(&bytes)
    };
    let matrices = gguf_matrices(&fs::read(folder.join(gguf)).unwrap());
    assert!(matrices.len() > unlike.len(), "{gguf} has matrices to compare");

    let found = |matrix: &&Matrix| {
        let candidates =
            weights.iter().filter(|values| values.len() == matrix.n_rows * matrix.row_len);
        candidates.flat_map(|values| [values.clone(), transposed(values, matrix.row_len)]).any(
            |values| {
                let mut blocks = vec![0; matrix.blocks.len()];
                codec(matrix.dtype).unwrap().quantize.unwrap()(&values, &mut blocks);
                blocks == matrix.blocks
            },
        )
    };
    let not_found: Vec<&str> = matrices
        .iter()
        .filter(|matrix| !found(matrix))
        .map(|matrix| matrix.name.trim_end_matches(".weight"))
        .collect();
    assert_eq!(not_found, unlike, "{gguf}");
}

/// The transpose of a matrix with `n_rows` rows.
fn transposed(values: &[f32], n_rows: usize) -> Vec<f32> {
    let row_len = values.len() / n_rows;
    (0..values.len()).map(|i| values[i % n_rows * row_len + i / n_rows]).collect()
}

struct Matrix {
    name: String,
    dtype: DType,
    n_rows: usize,
    row_len: usize,
    blocks: Vec<u8>,
}

/// The matrices of a GGUF file in file order, except plain `f32` ones.
fn gguf_matrices(file: &[u8]) -> Vec<Matrix> {
    let mut reader = Reader { file, at: 8 };
    let (n_tensors, n_keys) = (reader.number(8), reader.number(8));
    for _ in 0..n_keys {
        reader.string();
        let kind = reader.number(4);
        reader.skip_value(kind);
    }
    let mut infos = Vec::new();
    for _ in 0..n_tensors {
        let name = reader.string();
        let n_dims = reader.number(4);
        let dims: Vec<usize> = (0..n_dims).map(|_| reader.number(8)).collect();
        let dtype = DType::from_ggml_id(reader.number(4) as u32).unwrap();
        infos.push((name, dims, dtype, reader.number(8)));
    }
    let data = &file[reader.at.next_multiple_of(32)..];
    let is_compared = |dims: &[usize], dtype| dims.len() == 2 && dtype != DType::F32;
    let matrices = infos.into_iter().filter(|(_, dims, dtype, _)| is_compared(dims, *dtype));
    matrices
        .map(|(name, dims, dtype, offset)| {
            let n_bytes = dtype.row_bytes(dims[0]).unwrap() * dims[1];
            let blocks = data[offset..offset + n_bytes].to_vec();
            Matrix { name, dtype, n_rows: dims[1], row_len: dims[0], blocks }
        })
        .collect()
}

struct Reader<'a> {
    file: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn number(&mut self, n_bytes: usize) -> usize {
        self.at += n_bytes;
        self.file[self.at - n_bytes..self.at]
            .iter()
            .rev()
            .fold(0, |number, &byte| (number << 8) | usize::from(byte))
    }

    fn string(&mut self) -> String {
        let len = self.number(8);
        self.at += len;
        String::from_utf8_lossy(&self.file[self.at - len..self.at]).into_owned()
    }

    fn skip_value(&mut self, kind: usize) {
        match kind {
            8 => drop(self.string()),
            9 => {
                let (kind, len) = (self.number(4), self.number(8));
                (0..len).for_each(|_| self.skip_value(kind));
            }
            _ => self.at += [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8][kind],
        }
    }
}

/// Every tensor of a safetensors file as `f32`, found by scanning its header.
fn safetensors_weights(file: &[u8]) -> Vec<Vec<f32>> {
    let (header, data) = file[8..].split_at(Reader { file, at: 0 }.number(8));
    let header = std::str::from_utf8(header).unwrap();
    let entries = header.split("\"dtype\":\"").skip(1);
    let weight = |entry: &str| {
        let dtype = DType::from_name(entry.split('"').next()?)?;
        let offsets = entry.split("\"data_offsets\":[").nth(1)?.split(']').next()?;
        let (start, end) = offsets.split_once(',')?;
        let bytes = &data[start.trim().parse().ok()?..end.trim().parse().ok()?];
        Some(floats(dtype, bytes))
    };
    entries.map(|entry| weight(entry).unwrap()).collect()
}

/// Every stored entry of a PyTorch archive as `f32`, found by the signatures of its central directory.
fn zip_weights(file: &[u8]) -> Vec<Vec<f32>> {
    let records = (0..file.len() - 46).filter(|&at| file[at..].starts_with(b"PK\x01\x02"));
    let entry = |at: usize| {
        let number = |at, n_bytes| Reader { file, at }.number(n_bytes);
        let (size, local) = (number(at + 20, 4), number(at + 42, 4));
        let start = local + 30 + number(local + 26, 2) + number(local + 28, 2);
        &file[start..start + size]
    };
    records
        .map(entry)
        .filter(|bytes| bytes.len() % 4 == 0)
        .map(|bytes| floats(DType::F32, bytes))
        .collect()
}

fn floats(dtype: DType, bytes: &[u8]) -> Vec<f32> {
    let mut values = vec![0.0; bytes.len() / dtype.block_bytes()];
    (codec(dtype).unwrap().dequantize)(bytes, &mut values);
    values
}
