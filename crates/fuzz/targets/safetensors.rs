//! Any bytes as a file of this format.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gristmill_fuzz::exercise(&gristmill_safetensors::Safetensors, data));
