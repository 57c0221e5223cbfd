//! Any bytes as tokenizer.json and as tokenizer.model.
#![no_main]

use gristmill_tensor::Limits;
use gristmill_tokenizer::{EncodeOptions, Tokenizer};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    for name in ["tokenizer.json", "tokenizer.model"] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join(name), data).expect("it can be written");
        if let Ok(tokenizer) = Tokenizer::from_folder(folder.path(), &Limits::default()) {
            let options = EncodeOptions { add_special: true, parse_special: true };
            if let Ok(ids) = tokenizer.encode("Once upon a time, <s> 12 né", options) {
                tokenizer.decode(&ids, false);
            }
        }
    }
});
