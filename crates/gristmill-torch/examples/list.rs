//! Prints the tensors of a PyTorch checkpoint and the names its pickles mention.
//!
//! ```text
//! cargo run -p gristmill-torch --example list -- pytorch_model.bin
//! ```
#![expect(clippy::print_stdout, reason = "printing is what the example is for")]

use std::path::Path;

use gristmill_tensor::{Access, Error, Format, OpenContext, open_source};
use gristmill_torch::{Torch, audit, is_permitted};

fn main() -> Result<(), Error> {
    for path in std::env::args().skip(1) {
        let source = open_source(Path::new(&path), Access::Map)?;
        for global in audit(source.clone())? {
            println!("{} {global}", if is_permitted(&global) { "names" } else { "ASKS FOR" });
        }
        let checkpoint = Torch.open(source, &OpenContext::default())?;
        println!("{path}: {}, {} tensors", checkpoint.format(), checkpoint.tensors().len());
        for info in checkpoint.tensors() {
            let tied = checkpoint.alias_of(&info.name).map(|first| format!(" = {first}"));
            println!(
                "{:8} {:16} {}{}",
                info.dtype,
                info.shape,
                info.name,
                tied.unwrap_or_default()
            );
        }
    }
    Ok(())
}
