//! Lists what a safetensors file holds: `cargo run -p gristmill-safetensors --example list_safetensors -- model.safetensors`.

use std::path::Path;
use std::process::ExitCode;

use gristmill_safetensors::Reader;
use gristmill_tensor::{Checkpoint, Result};

#[expect(clippy::print_stdout, reason = "printing is what this program is for")]
fn list(path: &Path) -> Result<()> {
    let model = Reader::open(path)?;
    println!("{}: {}", model.name(), model.format());
    for (key, value) in model.metadata().iter() {
        println!("{key:<48} {:<8} {value}", value.type_name());
    }
    for info in model.tensors() {
        println!("{:<48} {:<8} {}", info.name, info.dtype, info.shape);
    }
    Ok(())
}

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1) else {
        eprintln!("usage: list_safetensors MODEL.safetensors");
        return ExitCode::from(2);
    };
    match list(Path::new(&path)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
