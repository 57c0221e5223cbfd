//! Which architecture a file is of, which it does not say.

use crate::common::{Raw, gptj, llama, metadata, open_as, refusal, tensors, write};
use gristmill_tensor::{Container, DType, Error, keys};

fn architecture(raw: &Raw) -> String {
    let model = raw.open().unwrap();
    model.metadata().get_str(keys::ARCHITECTURE).unwrap().unwrap().into()
}

/// A file that may be read in two ways: what GPT-J counts and types, GPT-NeoX takes for a flag and a type.
fn ambiguous() -> Raw {
    let mut raw = Raw::new(b"lmgg", &[1, 16, 32, 2, 1, 4, 1, 1]);
    raw.token(b"a").tensor("lm_head.weight", &[32, 1], 1, 64);
    raw
}

#[test]
fn an_ambiguous_file_names_its_readings_and_the_user_decides() {
    let error = ambiguous().open().err().unwrap();
    assert!(matches!(error, Error::Unsupported { .. }));
    let error = error.to_string();
    assert!(error.contains("gptj and as gptneox") && error.contains("--arch"), "{error}");
    for arch in ["gptj", "gptneox"] {
        let model = open_as(&ambiguous().bytes, Some(arch)).unwrap();
        assert_eq!(model.metadata().get_str(keys::ARCHITECTURE).unwrap(), Some(arch));
    }
}

#[test]
fn a_reading_with_all_tokens_is_taken_before_one_that_lacks_some() {
    // BLOOM with an empty token first, or LLaMA with two tokens of three.
    let mut raw = Raw::new(b"lmgg", &[3, 32, 1, 2, 1, 2, 0]);
    raw.token(b"a").token(b"b");
    raw.tensor("norm.weight", &[32], 0, 128).tensor("tok_embeddings.weight", &[32, 3], 0, 384);
    assert_eq!(architecture(&raw), "bloom");
    let model = open_as(&raw.bytes, Some("llama")).unwrap();
    assert_eq!(model.metadata().get_strings(keys::TOKENIZER_TOKENS).unwrap().unwrap(), ["a", "b"]);
}

#[test]
fn an_impossible_file_names_the_nearest_miss() {
    let mut raw = gptj();
    raw.tensor("transformer.h.0.attn.z_proj.weight", &[1, 1], 0, 4);
    let error = refusal(&raw.bytes);
    assert!(error.contains("read as GGML of gptj, the likeliest"), "{error}");
    assert!(error.contains("tensor 3 is called \"transformer.h.0.attn.z_proj.weight\""), "{error}");
    let mut raw = llama();
    raw.record("output.weight", &[32, 3], 57);
    let error = refusal(&raw.bytes);
    assert!(error.contains("GGJT v3 of llama") && error.contains("type 57"), "{error}");
}

#[test]
fn a_named_architecture_is_the_only_one_tried() {
    let error = open_as(&gptj().bytes, Some("gpt2")).err().unwrap().to_string();
    assert!(error.contains("of gpt2"), "{error}");
    for (bytes, arch) in [(gptj().bytes, "qwen2"), (Raw::new(b"fmgg", &[1]).bytes, "gptj")] {
        let error = open_as(&bytes, Some(arch)).err().unwrap().to_string();
        assert!(error.contains(&format!("file of {arch} is known; leave out --arch")), "{error}");
    }
}

#[test]
fn gpt_neox_of_both_times_is_told_apart() {
    let mut old = Raw::new(b"lmgg", &[1, 16, 32, 2, 1, 4, 1]);
    let mut new = Raw::new(b"lmgg", &[1, 16, 32, 2, 1, 4, 0, 1]);
    for (raw, parallel) in [(&mut old, true), (&mut new, false)] {
        raw.token(b"a").tensor("gpt_neox.embed_in.weight", &[32, 1], 1, 64);
        let model = raw.open().unwrap();
        let told = model.metadata().get_bool("gptneox.use_parallel_residual").unwrap();
        assert_eq!(told, Some(parallel));
    }
}

#[test]
fn of_two_layouts_of_one_architecture_the_one_with_all_tokens_is_taken() {
    // Without a first token, the old header and the new one, whose file type is that token's length.
    let mut old = Raw::new(b"lmgg", &[2, 16, 32, 2, 1, 4, 1]);
    old.token(b"").token(b"ab").tensor("gpt_neox.embed_in.weight", &[32, 2], 1, 128);
    let model = old.open().unwrap();
    let tokens = model.metadata().get_strings(keys::TOKENIZER_TOKENS).unwrap();
    assert_eq!(tokens.unwrap(), ["", "ab"]);
    assert!(model.format().contains("until May 2023"));
    // The file type and the first token may be one token of the old header's; the new header is listed first.
    let mut new = Raw::new(b"lmgg", &[2, 16, 32, 2, 1, 4, 0, 5]);
    new.token(b"a").token(b"b").tensor("gpt_neox.embed_in.weight", &[32, 2], 1, 128);
    assert!(new.open().unwrap().format().contains("since May 2023"));
}

#[test]
fn falcons_of_every_maker_are_recognized() {
    let embedding = "transformer.word_embeddings.weight";
    let mut rustformers = Raw::new(b"lmgg", &[1, 32, 2, 1, 1, 1]);
    rustformers.token(b"a").tensor(embedding, &[32, 1], 1, 64);
    let mut gpt4all = Raw::new(b"tjgg", &[1, 1, 32, 2, 1, 1, 7, 2002]);
    gpt4all.aligned = false;
    gpt4all.scored(b"a", 0.0).tensor(embedding, &[32, 1], 2, 18);
    let mut ggllm = Raw::new(b"tjgg", &[3, 1, 32, 2, 1, 1, 40, 2]);
    ggllm.scored(b"a", 0.0).tensor(embedding, &[32, 1], 2, 18);
    for (raw, maker) in [(rustformers, "rustformers"), (gpt4all, "GPT4All"), (ggllm, "ggllm.cpp")] {
        assert_eq!(architecture(&raw), "falcon");
        assert!(raw.open().unwrap().format().contains(maker), "{maker}");
        assert!(!raw.open().unwrap().metadata().contains(keys::TOKENIZER_SCORES));
    }
}

#[test]
fn versions_of_container_and_file_type_must_agree() {
    let of = |file_type: u32, n_bytes: usize| {
        let mut raw = Raw::new(b"tjgg", &[2, 1, 32, 32, 2, 1, 16, file_type]);
        raw.scored(b"a", 0.0).tensor("tok_embeddings.weight", &[32, 1], 2, n_bytes);
        raw
    };
    assert_eq!(of(2, 20).open().unwrap().tensors()[0].dtype, DType::Q4_0_V1);
    assert_eq!(of(1002, 20).open().unwrap().tensors()[0].dtype, DType::Q4_0_V1);
    let error = open_as(&of(2002, 20).bytes, Some("llama")).err().unwrap().to_string();
    assert!(
        error.contains("version 1 of the block layouts and the file type version 2"),
        "{error}"
    );
    // Sizes tell that the container lies.
    assert!(of(2, 18).open().is_err());
}

#[test]
fn quantized_mpt_files_without_a_version_are_of_may_2023() {
    let layouts = gristmill_arch::ggml_headers();
    let mpt = layouts.iter().find(|layout| layout.architecture == "mpt").unwrap();
    let stored = tensors("mpt", DType::Q4_0_V1, 32);
    let mut bytes = write(Container::Ggml, 1, &metadata(mpt, 32), &stored).unwrap();
    assert_eq!(bytes[32..36], 1002u32.to_le_bytes());
    bytes[32..36].copy_from_slice(&2u32.to_le_bytes());
    let model = open_as(&bytes, None).unwrap();
    assert_eq!(model.tensors()[0].dtype, DType::Q4_0_V1);
    assert_eq!(model.metadata().get_u32(keys::QUANTIZATION_VERSION).unwrap(), Some(1));
}

#[test]
fn on_one_day_the_number_of_q5_0_was_that_of_q8_0() {
    let of = |n_bytes: usize| {
        let mut raw = Raw::new(b"tjgg", &[1, 1, 32, 32, 2, 1, 16, 7]);
        raw.scored(b"a", 0.0).tensor("tok_embeddings.weight", &[32, 1], 6, n_bytes);
        raw.tensor("norm.weight", &[32], 0, 128);
        raw
    };
    assert_eq!(of(22).open().unwrap().tensors()[0].dtype, DType::Q5_0_V0);
    assert_eq!(of(36).open().unwrap().tensors()[0].dtype, DType::Q8_0_V1);
    assert!(refusal(&of(24).bytes).contains("the likeliest"));
}
