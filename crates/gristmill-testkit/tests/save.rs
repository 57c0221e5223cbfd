//! A saved model is a folder as publishers make them.

use std::path::Path;

use gristmill_testkit::{Options, tiny};

#[test]
fn a_saved_model_is_a_safetensors_file_with_its_configuration_and_tokenizer() {
    for arch in ["bloom", "falcon", "gpt2", "gptj", "gptneox", "llama", "mpt"] {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(arch);
        std::fs::create_dir_all(&folder).unwrap();
        let n_bytes: usize = tiny(arch, &Options::default())
            .checkpoint
            .into_tensors()
            .iter()
            .map(|(_, b)| b.len())
            .sum();
        tiny(arch, &Options::default()).save(&folder).unwrap();
        let file = std::fs::read(folder.join("model.safetensors")).unwrap();
        let header = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
        assert_eq!(file.len(), 8 + header + n_bytes);
        assert!(file[8..].starts_with(b"{\"") && file[..8 + header].ends_with(b"}}"));
        assert!(folder.join("config.json").exists() && folder.join("tokenizer.json").exists());
    }
}
