//! What is written is read back: every architecture in every container and version of the block layouts.

use crate::common::{metadata, open, open_as, tensors, write};
use gristmill_tensor::{
    Container, DType, HeaderField, HeaderLayout, MetaArray, MetaValue, TensorInfo, Vocabulary, keys,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// Each architecture and container, with the layout that is written.
fn written_layouts() -> Vec<(&'static HeaderLayout, Container)> {
    let mut found: Vec<(&HeaderLayout, Container)> = Vec::new();
    for layout in gristmill_arch::ggml_headers() {
        for &container in layout.containers {
            let is_new = found.iter().all(|(first, known)| {
                (first.architecture, *known) != (layout.architecture, container)
            });
            if is_new && !layout.fields.contains(&HeaderField::NMerges) {
                found.push((layout, container));
            }
        }
    }
    found
}

/// The versions of the block layouts that a quantized file can tell.
fn versions(arch: &str, container: Container) -> &'static [u32] {
    match (container, arch) {
        (Container::Ggmf | Container::Ggmm, _) => &[0],
        (Container::Ggml, "mpt") => &[1, 2],
        _ => &[0, 1, 2],
    }
}

/// The types of weights of that version, and how wide a row of them is.
fn types(version: u32) -> Vec<(DType, u32)> {
    let today =
        [DType::F32, DType::F16, DType::Q4_0, DType::Q4_1, DType::Q5_0, DType::Q5_1, DType::Q8_0];
    let mut types: Vec<(DType, u32)> =
        today.iter().filter_map(|dtype| Some((dtype.at_version(version)?, 32))).collect();
    match version {
        0 => types.extend([(DType::Q4_2, 32), (DType::Q4_3, 32)]),
        2 => types.extend([(DType::Q2_K, 256), (DType::Q4_K, 256), (DType::Q6_K, 256)]),
        _ => {}
    }
    types
}

#[test]
fn every_architecture_survives_every_container_version_and_type() {
    let mut n_files = 0;
    for (layout, container) in written_layouts() {
        for &version in versions(layout.architecture, container) {
            for (dtype, n_embd) in types(version) {
                survives(layout, container, version, dtype, n_embd);
                n_files += 1;
            }
        }
    }
    assert!(n_files > 200, "{n_files} files");
}

fn survives(layout: &HeaderLayout, container: Container, version: u32, dtype: DType, n_embd: u32) {
    let arch = layout.architecture;
    let what = format!("{arch} {container:?} {version} {dtype}");
    let told = metadata(layout, n_embd);
    let stored = tensors(arch, dtype, n_embd as usize);
    let bytes = write(container, version, &told, &stored).unwrap_or_else(|e| panic!("{what}: {e}"));
    let model = open(&bytes).unwrap_or_else(|error| panic!("{what}: {error}"));

    for (key, value) in told.iter() {
        // The width of the feed-forward layer is the tensors' to tell; some containers have no scores.
        let unsaid = key == keys::arch(arch, keys::FEED_FORWARD_LENGTH)
            || key == keys::TOKENIZER_SCORES && model.metadata().get(key).is_none();
        assert!(unsaid || model.metadata().get(key) == Some(value), "{what}: {key}");
    }
    let has_scores = arch == "llama" && container != Container::Ggml;
    assert_eq!(model.metadata().contains(keys::TOKENIZER_SCORES), has_scores, "{what}");
    let told_version = model.metadata().get_u32(keys::QUANTIZATION_VERSION).unwrap();
    assert_eq!(told_version, dtype.is_quantized().then_some(version), "{what}");
    assert_eq!(model.tensors().len(), stored.len(), "{what}");
    for (info, bytes) in &stored {
        assert_eq!(model.find(&info.name), Some(info), "{what}");
        assert_eq!(*model.tensor(&info.name).unwrap().bytes, **bytes, "{what}: {}", info.name);
    }
    // What a reader says is written again as the same file.
    let again = write(container, version, model.metadata(), &stored);
    match again {
        Ok(again) => assert!(again == bytes, "{what}: the second file differs"),
        // Only a multiple is known of LLaMA's width, and this model has no such layer.
        Err(error) => assert!(
            arch == "llama" && error.to_string().contains("feed_forward"),
            "{what}: {error}"
        ),
    }
}

#[test]
fn versions_that_a_file_cannot_tell_are_not_written() {
    for (layout, container) in written_layouts() {
        let arch = layout.architecture;
        for version in 0..=3 {
            if versions(arch, container).contains(&version) {
                continue;
            }
            let dtype = DType::Q4_0.at_version(version).unwrap_or(DType::Q4_0);
            let error = write(container, version, &metadata(layout, 32), &tensors(arch, dtype, 32));
            let error = error.expect_err(arch).to_string();
            assert!(
                error.contains("of the block layouts") || error.contains("no version 3"),
                "{error}"
            );
        }
    }
}

#[test]
fn what_no_reader_would_take_is_not_written() {
    let layout =
        gristmill_arch::ggml_headers().into_iter().find(|l| l.architecture == "gptj").unwrap();
    let good = metadata(layout, 32);
    let stored = tensors("gptj", DType::Q4_0, 32);
    let refusal = |metadata, tensors: &[(TensorInfo, Vec<u8>)], container| {
        write(container, 2, metadata, tensors).unwrap_err().to_string()
    };
    let stranger = [(TensorInfo::new("model.norm.weight", DType::F32, [1]), vec![0; 4])];
    assert!(
        refusal(&good, &stranger, Container::Ggml).contains("gptj has no tensor model.norm.weight")
    );
    let cube = [(TensorInfo::new("lm_head.weight", DType::F32, [1, 1, 1]), vec![0; 4])];
    assert!(refusal(&good, &cube, Container::Ggml).contains("3 dimensions"));
    let young = [(TensorInfo::new("lm_head.weight", DType::BF16, [1, 1]), vec![0; 2])];
    assert!(refusal(&good, &young, Container::Ggml).contains("BF16"));
    assert!(refusal(&good, &stored, Container::Ggmm).contains("no GGMM file of architecture gptj"));

    let mut short = good.clone();
    short.set(keys::TOKENIZER_TOKENS, vec!["a".to_string()]);
    assert!(refusal(&short, &stored, Container::Ggml).contains("1 tokens"));
    let mut long = good.clone();
    let tokens = MetaArray::Bytes(vec![vec![b'a'; 4097], vec![0xff], Vec::new()]);
    long.set(keys::TOKENIZER_TOKENS, MetaValue::Array(tokens));
    assert!(refusal(&long, &stored, Container::Ggml).contains("4097 bytes"));
    let mut wordless = gristmill_tensor::Metadata::new("test.bin");
    wordless.set(keys::ARCHITECTURE, "gptj");
    assert!(refusal(&wordless, &stored, Container::Ggml).contains("gptj.vocab_size"));
}

#[test]
fn file_types_of_llama_cpp_are_kept_unless_they_are_younger_than_these_files() {
    let layouts = gristmill_arch::ggml_headers();
    let llama = layouts.iter().find(|layout| layout.architecture == "llama").unwrap();
    for (dtype, told, written) in [
        (DType::Q4_K, 15u32, 15),
        (DType::Q4_K, 14, 14),
        (DType::Q4_K, 1039, 15),
        (DType::F16, 32, 1),
    ] {
        let mut metadata = metadata(llama, 256);
        metadata.set(keys::FILE_TYPE, told);
        let bytes = write(Container::Ggjt, 2, &metadata, &tensors("llama", dtype, 256)).unwrap();
        let model = open_as(&bytes, None).unwrap();
        assert_eq!(model.metadata().get_u32(keys::FILE_TYPE).unwrap(), Some(written), "{told}");
    }
}

#[test]
fn special_tokens_of_gpt4alls_mpt_are_marked() {
    let layouts = gristmill_arch::ggml_headers();
    let is_its = |l: &&&HeaderLayout| l.containers == [Container::Ggmm];
    let mut told = metadata(layouts.iter().find(is_its).unwrap(), 32);
    told.set(keys::TOKENIZER_TOKEN_TYPE, vec![1i32, 3, 1]);
    let bytes = write(Container::Ggmm, 0, &told, &tensors("mpt", DType::F16, 32)).unwrap();
    let marked = [&2u32.to_le_bytes()[..3], &[0x80, 0xff, 0xfe]].concat();
    assert!(bytes.windows(marked.len()).any(|window| window == marked));
    let model = open_as(&bytes, Some("mpt")).unwrap();
    assert_eq!(model.metadata().get(keys::TOKENIZER_TOKENS), told.get(keys::TOKENIZER_TOKENS));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn any_vocabulary_survives(
        tokens in vec(vec(any::<u8>(), 0..8), 1..20),
        n_rows in 1usize..4,
    ) {
        for (layout, container) in written_layouts() {
            let arch = layout.architecture;
            let mut told = metadata(layout, 32);
            told.set(keys::arch(arch, keys::VOCAB_SIZE), tokens.len() as u32);
            if layout.vocabulary == Vocabulary::SentencePiece {
                told.set(keys::TOKENIZER_SCORES, vec![0.5f32; tokens.len()]);
            }
            told.set(keys::TOKENIZER_TOKENS, MetaValue::Array(MetaArray::Bytes(tokens.clone())));
            let mut stored = tensors(arch, DType::F16, 32);
            stored[0] = (TensorInfo::new(&*stored[0].0.name, DType::F32, [n_rows, 1]), vec![1; 4 * n_rows]);
            let bytes = write(container, 0, &told, &stored).unwrap();
            let model = open_as(&bytes, Some(arch)).unwrap();
            let read: Vec<Vec<u8>> = match model.metadata().get(keys::TOKENIZER_TOKENS).unwrap() {
                MetaValue::Array(MetaArray::Bytes(texts)) => texts.clone(),
                MetaValue::Array(MetaArray::String(texts)) => texts.iter().map(|t| t.clone().into_bytes()).collect(),
                other => panic!("{other:?}"),
            };
            prop_assert_eq!(&read, &tokens);
            prop_assert_eq!(&*model.tensor(&stored[0].0.name).unwrap().bytes, &*stored[0].1);
        }
    }
}
