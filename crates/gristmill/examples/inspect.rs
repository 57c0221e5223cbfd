//! Shows what a model is and holds: `cargo run --example inspect -- MODEL`.
#![allow(clippy::print_stdout, reason = "an example talks to people")]

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: inspect MODEL")?;
    let model = gristmill::open(&path)?;
    println!("{}: {}", model.path().display(), model.raw().format());
    for (key, value) in model.metadata().iter() {
        println!("  {key} = {value}");
    }
    for info in model.checkpoint().tensors() {
        println!("  {:6} {:16} {}", info.dtype, info.shape, info.name);
    }
    for note in model.notes() {
        println!("note: {note}");
    }

    // The forward pass, one line for each operation.
    let (_, program) = model.program()?;
    print!("{program}");
    Ok(())
}
