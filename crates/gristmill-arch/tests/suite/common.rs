//! A checkpoint of the wild made canonical, as the conversion does it: names, metadata, row order, extra tensors.

use gristmill_arch::{
    Architecture, Config, Dialect, Direction, Heads, Hparams, Result, Transform, from_config,
    is_ignored, match_weight, program, source_rows,
};
use gristmill_graph::Program;
use gristmill_tensor::{Metadata, TensorInfo};
use gristmill_testkit::{MemoryCheckpoint, Tiny};
use serde_json::Value;

/// Tensors with house names, rows in the house's order.
pub(crate) fn canonical(
    config: &Value,
    tensors: impl IntoIterator<Item = (TensorInfo, Vec<u8>)>,
) -> Result<MemoryCheckpoint> {
    let arch = from_config(config, "config.json")?;
    let config = Config::new(config, "config.json");
    let mut metadata = Metadata::new("config.json");
    arch.configure(&config, &mut metadata)?;
    let heads = Heads::from_metadata(arch, &metadata)?;
    let mut renamed = arch.extra_tensors(&config)?;
    for (info, bytes) in tensors {
        if is_ignored(arch, &info.name) {
            continue;
        }
        renamed.push(rename(arch, heads, info, &bytes)?);
    }
    Ok(MemoryCheckpoint::new("tiny", metadata, renamed))
}

fn rename(
    arch: &dyn Architecture,
    heads: Heads,
    info: TensorInfo,
    bytes: &[u8],
) -> Result<(TensorInfo, Vec<u8>)> {
    let matched = match_weight(arch, Dialect::HuggingFace, &info.name)
        .unwrap_or_else(|| panic!("{} known", info.name));
    let n_rows = info.shape.dims()[0];
    let row_bytes = bytes.len() / n_rows;
    let bytes = if let (Transform::Transpose, &[n_rows, n_columns]) =
        (matched.transform, info.shape.dims())
    {
        let size = row_bytes / n_columns;
        let order = (0..n_columns).flat_map(|c| (0..n_rows).map(move |r| r * n_columns + c));
        order.flat_map(|number| bytes[number * size..][..size].to_vec()).collect()
    } else {
        let to_house = Direction::ToHouse;
        let rows = source_rows(matched.transform, to_house, heads, 0..n_rows, n_rows)?;
        rows.flat_map(|row| bytes[row * row_bytes..][..row_bytes].to_vec()).collect()
    };
    let shape = matched.transform.shape(&info.shape);
    Ok((TensorInfo { name: matched.name, shape, ..info }, bytes))
}

pub(crate) fn config_of(tiny: &Tiny) -> Value {
    serde_json::from_str(&tiny.config).unwrap()
}

/// The program of a tiny model.
pub(crate) fn run(tiny: Tiny) -> Result<(Hparams, Program)> {
    let config = config_of(&tiny);
    program(&canonical(&config, tiny.checkpoint.into_tensors())?)
}
