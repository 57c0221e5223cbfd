//! Any bytes as a legacy file of the ggml family, of any architecture.
#![no_main]

use gristmill_ggml::Ggml;

const GGML: Ggml = Ggml::new(gristmill_arch::ggml_headers, gristmill_arch::is_ggml_tensor);

libfuzzer_sys::fuzz_target!(|data: &[u8]| gristmill_fuzz::exercise(&GGML, data));
