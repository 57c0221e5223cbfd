//! `bench model ARCH TYPE OUT.gguf`: a GGUF file of a real model's size with random weights.
//!
//! Speed does not depend on the values, so nothing is downloaded and nothing quantized: `blocks` makes valid noise,
//! `shape` knows the models. The same words give the same bytes.

mod blocks;
mod shape;

use std::path::Path;

use gristmill_gguf::Gguf;
use gristmill_tensor::{AtomicFile, DType, Format, ModelHeader};

use crate::Result;
use blocks::Noise;
use shape::{SHAPES, Shape};

/// `model ARCH TYPE OUT`.
pub(crate) fn run(arguments: &[String]) -> Result {
    let [shape, dtype, out] = arguments else {
        let names: Vec<&str> = SHAPES.iter().map(|shape| shape.name).collect();
        return Err(format!(
            "usage: cargo xtask bench model {{{}}} TYPE OUT.gguf",
            names.join("|")
        ));
    };
    let shape = SHAPES
        .iter()
        .find(|candidate| candidate.name == shape)
        .ok_or_else(|| format!("no shape is called {shape}"))?;
    let dtype = DType::from_name(dtype).filter(|dtype| blocks::can_be_made(*dtype));
    let dtype = dtype.ok_or_else(|| format!("weights cannot be {}", arguments[1]))?;
    write(shape, dtype, Path::new(out)).map_err(|error| error.to_string())
}

fn write(shape: &Shape, dtype: DType, out: &Path) -> gristmill_tensor::Result<()> {
    let metadata = shape.metadata(dtype);
    let tensors = shape.tensors(dtype);
    let header = ModelHeader { metadata: &metadata, tensors: &tensors };
    let sink = Gguf.create(AtomicFile::create(out, true)?, &header)?;
    let mut noise = Noise::new();
    for (index, info) in tensors.iter().enumerate() {
        // Large enough that the file cache, where it can, holds them in large pages, as it does what it reads itself.
        let slab_bytes = ((32 << 20) / info.row_bytes()).max(1) * info.row_bytes();
        let n_bytes = info.n_bytes();
        let mut offset = 0;
        while offset < n_bytes {
            let mut slab = vec![0; (slab_bytes as u64).min(n_bytes - offset) as usize];
            match info.shape.dims() {
                // Gains are one and biases zero, as before training.
                [_] if info.name.ends_with(".bias") => {}
                [_] => blocks::ones(&mut slab),
                _ => noise.fill(info.dtype, &mut slab),
            }
            sink.write(index, offset, &slab)?;
            offset += slab.len() as u64;
        }
    }
    sink.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use gristmill_tensor::{Access, OpenContext, open_source};

    #[test]
    fn the_same_words_give_the_same_bytes_and_a_file_of_that_type() {
        let folder = std::env::temp_dir().join(format!("bench-model-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let tiny = Shape { n_layer: 1, n_vocab: 600, ..SHAPES[2] };
        let files = [folder.join("a.gguf"), folder.join("b.gguf")];
        for dtype in [DType::BF16, DType::Q4_0, DType::Q6_K, DType::MXFP4] {
            files.iter().for_each(|file| write(&tiny, dtype, file).unwrap());
            let [a, b] = files.each_ref().map(|file| std::fs::read(file).unwrap());
            assert!(a == b, "{dtype}");
            let source = open_source(&files[0], Access::Read).unwrap();
            let read = Gguf.open(source, &OpenContext::default()).unwrap();
            assert!(read.tensors().iter().any(|info| info.dtype == dtype), "{dtype}");
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
