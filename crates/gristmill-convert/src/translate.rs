//! From a checkpoint's list of tensors to the house's: names, order, and what is left out.

use std::collections::HashMap;

use gristmill_arch::{Architecture, Config, Dialect, Matched, Role, Transform};
use gristmill_tensor::{Bytes, Checkpoint, DType, TensorInfo, keys};

use crate::{Error, Note, Result, gather};

/// The names of the two matrices that many models share.
pub(crate) const EMBEDDING: &str = "token_embd.weight";
pub(crate) const OUTPUT: &str = "output.weight";

/// How much of two matrices is compared at once.
const COMPARED_BYTES: usize = 1 << 20;

/// Where a tensor's rows come from.
pub(crate) enum Origin {
    /// The checkpoint has them under this name.
    Stored { info: TensorInfo, transform: Transform },
    /// The architecture computed them from the configuration.
    Computed(Bytes),
}

/// The house's tensors in the house's order, whatever the order of the checkpoint, and where each comes from. Legacy
/// files have no configuration.
pub(crate) fn translate(
    arch: &dyn Architecture,
    dialect: Dialect,
    config: Option<&Config<'_>>,
    raw: &dyn Checkpoint,
    notes: &mut Vec<Note>,
) -> Result<Vec<(TensorInfo, Origin)>> {
    let turned = dialect == Dialect::Ggml && has_turned_matrices(arch, raw)?;
    let mut tensors = Vec::new();
    let mut spelled: HashMap<String, &str> = HashMap::new();
    let (mut ignored, mut unknown) = (Vec::new(), Vec::new());
    for stored in raw.tensors() {
        let Some(matched) = gristmill_arch::match_weight(arch, dialect, &stored.name) else {
            let list = match gristmill_arch::is_ignored(arch, &stored.name) {
                true => &mut ignored,
                false => &mut unknown,
            };
            list.push(stored.name.clone());
            continue;
        };
        let transform = match turned && is_turned(&matched) {
            true => Transform::Transpose,
            false => matched.transform,
        };
        if let Some(first) = spelled.insert(matched.name.clone(), &stored.name) {
            let (first, second) = (first.into(), stored.name.clone());
            return Err(Error::Ambiguous { file: raw.name(), name: matched.name, first, second });
        }
        let dtype = presented(gather::given(stored, transform), stored)?;
        let shape = transform.shape(&stored.shape);
        let origin = Origin::Stored { info: stored.clone(), transform };
        tensors.push((TensorInfo { name: matched.name, dtype, shape }, origin));
    }
    if !unknown.is_empty() {
        let hint = hint(&unknown);
        let (file, architecture) = (raw.name(), arch.name());
        return Err(Error::UnknownTensors { file, architecture, names: unknown, hint });
    }
    if let Some(example) = ignored.first().cloned() {
        notes.push(Note::Ignored { count: ignored.len(), example });
    }
    let tied = config.map_or(Ok(None), |config| config.flag("tie_word_embeddings"))?;
    settle_tied_output(arch, tied == Some(true), raw, &mut tensors, notes)?;
    for (info, bytes) in config.map_or(Ok(Vec::new()), |config| arch.extra_tensors(config))? {
        if !spelled.contains_key(&info.name) {
            tensors.push((info, Origin::Computed(bytes.into())));
        }
    }
    tensors.sort_by_cached_key(|(info, _)| place(arch, &info.name));
    Ok(tensors)
}

/// Whether a legacy file of GPT-2 or GPT-J is of the kind written until March 2023, when converters left some matrices
/// as Hugging Face's Conv1D has them, inputs by outputs. The square ones do not show it; the first feed-forward matrix
/// does.
fn has_turned_matrices(arch: &dyn Architecture, raw: &dyn Checkpoint) -> Result<bool> {
    let key = keys::arch(arch.name(), keys::EMBEDDING_LENGTH);
    let Some(n_embd) = raw.metadata().get_usize(&key)? else { return Ok(false) };
    let up = raw.tensors().iter().find(|info| {
        let matched = gristmill_arch::match_weight(arch, Dialect::Ggml, &info.name);
        matched.is_some_and(|matched| matched.name == "blk.0.ffn_up.weight")
    });
    Ok(up.is_some_and(|up| up.shape.rows() == n_embd && up.shape.row_len() != n_embd))
}

/// Whether a weight is among those that old converters turned.
fn is_turned(matched: &Matched) -> bool {
    matched.role == Role::Linear && !matched.name.ends_with(".ffn_down.weight")
}

/// The type that the house sees. Types that no kernel knows and no file of ours holds are widened.
fn presented(dtype: DType, stored: &TensorInfo) -> Result<DType> {
    match dtype {
        DType::F32 | DType::F16 | DType::BF16 => Ok(dtype),
        DType::F64 | DType::F8_E4M3 | DType::F8_E5M2 => Ok(DType::F32),
        dtype if dtype.is_quantized() => Ok(dtype),
        dtype => Err(Error::NotAWeight { tensor: stored.name.clone(), dtype }),
    }
}

/// Sorts tensors as a model is computed: embeddings, block after block, what follows the blocks; inside each as the
/// architecture lists them.
fn place(arch: &dyn Architecture, name: &str) -> (u8, u32, usize) {
    let in_block = name.strip_prefix("blk.").and_then(|rest| rest.split_once('.'));
    let (part, block, pattern) = match in_block {
        Some((number, rest)) => (1, number.parse().unwrap_or(u32::MAX), format!("blk.{{}}.{rest}")),
        None if name.starts_with("output") => (2, 0, name.to_owned()),
        None => (0, 0, name.to_owned()),
    };
    let rule = arch.weights().iter().position(|rule| rule.name == pattern);
    (part, block, rule.unwrap_or(usize::MAX))
}

/// What tensors that no architecture of ours has may be.
fn hint(unknown: &[String]) -> &'static str {
    let any =
        |marks: &[&str]| unknown.iter().any(|name| marks.iter().any(|mark| name.contains(mark)));
    if any(&[".qweight", ".qzeros", "quant_state", ".SCB", ".weight_packed", ".weight_scale"]) {
        "; this looks like a checkpoint quantized by GPTQ, AWQ or the like: take the original one"
    } else if any(&["lora_A", "lora_B", "lora_embedding"]) {
        "; this looks like a LoRA adapter: merge it into its model first"
    } else {
        ""
    }
}

/// Settles what becomes of the output matrix of models that use their embedding as one.
///
/// It is left out when the configuration says that the two are `tied`, and when they are bit by bit the same, as in
/// files whose writer stored a shared matrix twice. An architecture whose files must have one is given the embedding
/// under that name.
fn settle_tied_output(
    arch: &dyn Architecture,
    tied: bool,
    raw: &dyn Checkpoint,
    tensors: &mut Vec<(TensorInfo, Origin)>,
    notes: &mut Vec<Note>,
) -> Result<()> {
    let stored = |house| {
        tensors.iter().find_map(|(info, origin)| match origin {
            Origin::Stored { info: stored, .. } if info.name == house => Some(stored.clone()),
            _ => None,
        })
    };
    let Some(rule) = arch.weights().iter().find(|rule| rule.name == OUTPUT) else { return Ok(()) };
    let Some(embedding) = stored(EMBEDDING) else { return Ok(()) };
    match stored(OUTPUT) {
        Some(output) if rule.optional => {
            let same = || -> Result<bool> {
                Ok(raw.alias_of(&output.name) == Some(&embedding.name)
                    || raw.alias_of(&embedding.name) == Some(&output.name)
                    || same_bits(raw, &embedding, &output)?)
            };
            if tied || same()? {
                tensors.retain(|(info, _)| info.name != OUTPUT);
                notes.push(Note::TiedOutput { tensor: output.name });
            }
        }
        None if tied && !rule.optional => {
            let (dtype, shape) = (presented(embedding.dtype, &embedding)?, embedding.shape.clone());
            let info = TensorInfo { name: OUTPUT.into(), dtype, shape };
            tensors.push((info, Origin::Stored { info: embedding, transform: Transform::Keep }));
        }
        _ => {}
    }
    Ok(())
}

/// Whether two tensors hold the same bytes, read a little at a time and no further than the first difference.
fn same_bits(raw: &dyn Checkpoint, a: &TensorInfo, b: &TensorInfo) -> Result<bool> {
    if (a.dtype, &a.shape) != (b.dtype, &b.shape) {
        return Ok(false);
    }
    let n_rows = a.shape.rows();
    // The first comparison is of one row: matrices that differ at all differ there.
    let (mut start, mut step) = (0, 1);
    while start < n_rows {
        let rows = start..n_rows.min(start + step);
        if *raw.read(&a.name, rows.clone())? != *raw.read(&b.name, rows.clone())? {
            return Ok(false);
        }
        start = rows.end;
        step = (COMPARED_BYTES / a.row_bytes().max(1)).max(1);
    }
    Ok(true)
}
