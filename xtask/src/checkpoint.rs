//! `checkpoint`: a PyTorch checkpoint of GPT-J-6B's shape, for measuring conversion at full size.
//!
//! The file is what `torch.save(model.state_dict())` writes: a zip with a protocol-2 pickle of an `OrderedDict` and
//! one stored member per storage, 64-byte aligned. Values are random.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use half::f16;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::Result;
use crate::random::Weights;
use crate::shell::root;

const N_VOCAB: u64 = 50400;
const N_EMBD: u64 = 4096;
const N_FF: u64 = 4 * N_EMBD;

/// `checkpoint FOLDER [--n-layer N]`.
pub(crate) fn run(arguments: &[String]) -> Result {
    let (folder, n_layer) = match arguments {
        [folder] => (folder, 28),
        [folder, flag, n] if flag == "--n-layer" => {
            (folder, n.parse().map_err(|_| "N is a number")?)
        }
        _ => return Err("usage: cargo xtask checkpoint FOLDER [--n-layer N]".into()),
    };
    write(Path::new(folder), n_layer).map_err(|error| format!("{folder}: {error}"))
}

fn write(folder: &Path, n_layer: u64) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    let demo = root().join("testdata/tale-gptj-4m");
    for name in ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"] {
        fs::copy(demo.join(name), folder.join(name))?;
    }
    let config = serde_json::json!({
        "architectures": ["GPTJForCausalLM"], "model_type": "gptj", "activation_function": "gelu_new",
        "n_embd": N_EMBD, "n_head": 16, "n_inner": null, "n_layer": n_layer, "n_positions": 2048,
        "rotary_dim": 64, "vocab_size": N_VOCAB, "layer_norm_epsilon": 1e-5, "tie_word_embeddings": false,
        "bos_token_id": 2047, "eos_token_id": 2047, "torch_dtype": "float16",
    });
    fs::write(folder.join("config.json"), format!("{config:#}\n"))?;

    let tensors = tensors(n_layer);
    let file = File::create(folder.join("pytorch_model.bin"))?;
    let mut zip = ZipWriter::new(BufWriter::with_capacity(1 << 20, file));
    let stored = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .large_file(true)
        .with_alignment(64);
    zip.start_file("pytorch_model/data.pkl", stored)?;
    zip.write_all(&pickle(&tensors))?;
    zip.start_file("pytorch_model/byteorder", stored)?;
    zip.write_all(b"little")?;
    let mut weights = Weights::new(6, 0.02, |value| f16::from_f32(value).to_le_bytes());
    let mut slab = vec![0u8; 8 << 20];
    for (key, (_, shape)) in tensors.iter().enumerate() {
        zip.start_file(format!("pytorch_model/data/{key}"), stored)?;
        let mut left = 2 * shape.iter().product::<u64>();
        while left > 0 {
            let part = &mut slab[..left.min(8 << 20) as usize];
            weights.fill(part);
            zip.write_all(part)?;
            left -= part.len() as u64;
        }
    }
    zip.start_file("pytorch_model/version", stored)?;
    zip.write_all(b"3\n")?;
    zip.finish()?.flush()
}

/// The names and shapes of GPT-J's state dict.
fn tensors(n_layer: u64) -> Vec<(String, Vec<u64>)> {
    let mut list = vec![("transformer.wte.weight".to_string(), vec![N_VOCAB, N_EMBD])];
    for il in 0..n_layer {
        let mut add = |part: &str, shape: &[u64]| {
            list.push((format!("transformer.h.{il}.{part}"), shape.to_vec()));
        };
        add("ln_1.weight", &[N_EMBD]);
        add("ln_1.bias", &[N_EMBD]);
        for projection in ["k_proj", "v_proj", "q_proj", "out_proj"] {
            add(&format!("attn.{projection}.weight"), &[N_EMBD, N_EMBD]);
        }
        add("mlp.fc_in.weight", &[N_FF, N_EMBD]);
        add("mlp.fc_in.bias", &[N_FF]);
        add("mlp.fc_out.weight", &[N_EMBD, N_FF]);
        add("mlp.fc_out.bias", &[N_EMBD]);
    }
    list.push(("transformer.ln_f.weight".into(), vec![N_EMBD]));
    list.push(("transformer.ln_f.bias".into(), vec![N_EMBD]));
    list.push(("lm_head.weight".into(), vec![N_VOCAB, N_EMBD]));
    list.push(("lm_head.bias".into(), vec![N_VOCAB]));
    list
}

/// `OrderedDict` of `_rebuild_tensor_v2` calls, pickle protocol 2.
fn pickle(tensors: &[(String, Vec<u64>)]) -> Vec<u8> {
    let mut out = b"\x80\x02ccollections\nOrderedDict\n)R(".to_vec();
    for (key, (name, shape)) in tensors.iter().enumerate() {
        let numel: u64 = shape.iter().product();
        text(&mut out, name);
        out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut out, "storage");
        out.extend(b"ctorch\nHalfStorage\n");
        text(&mut out, &key.to_string());
        text(&mut out, "cpu");
        integer(&mut out, numel);
        out.extend(b"tQ");
        integer(&mut out, 0);
        tuple(&mut out, shape);
        let strides: Vec<u64> = (0..shape.len()).map(|d| shape[d + 1..].iter().product()).collect();
        tuple(&mut out, &strides);
        out.extend(b"\x89ccollections\nOrderedDict\n)RtR");
    }
    out.extend(b"u.");
    out
}

fn text(out: &mut Vec<u8>, value: &str) {
    out.push(b'X');
    out.extend((value.len() as u32).to_le_bytes());
    out.extend(value.as_bytes());
}

fn integer(out: &mut Vec<u8>, value: u64) {
    let value = i32::try_from(value).expect("GPT-J's extents fit 31 bits");
    out.push(b'J');
    out.extend(value.to_le_bytes());
}

fn tuple(out: &mut Vec<u8>, values: &[u64]) {
    out.push(b'(');
    for &value in values {
        integer(out, value);
    }
    out.push(b't');
}
