//! Converts a checkpoint to GGUF: `cargo run --release --example convert -- FOLDER OUT [q4_0]`.
#![allow(clippy::print_stdout, reason = "an example talks to people")]

use std::error::Error;
use std::ops::ControlFlow;

use gristmill::convert::{ConvertOptions, Event, OutType};
use gristmill::tensor::Access;
use gristmill::{OpenOptions, open_with};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(input), Some(output)) = (arguments.next(), arguments.next()) else {
        return Err("usage: convert FOLDER OUT [TYPE]".into());
    };
    let outtype = match arguments.next() {
        Some(name) => OutType::from_name(&name).ok_or("not a type that can be written")?,
        None => OutType::default(),
    };

    // Reads, not memory maps: the memory in use stays within the budget.
    let opening = OpenOptions { access: Access::Read, ..OpenOptions::default() };
    let model = open_with(&input, &opening)?;
    let options = ConvertOptions { outtype, ..ConvertOptions::default() };
    let report = model.convert(output, &options, &mut |event| {
        if let Event::Written { tensor, written, total } = event {
            println!("{:3} %  {}", 100 * written / total.max(1), tensor.name);
        }
        ControlFlow::Continue(()) // Break would stop the work and leave no file
    })?;

    for note in &report.notes {
        println!("note: {note}");
    }
    for tally in &report.tallies {
        println!("{:4} tensors as {}: {} bytes", tally.tensors, tally.dtype, tally.bytes);
    }
    println!("wrote {}", report.output.display());
    Ok(())
}
