//! Which matrices of a quantized file are given more bits than the others, or fewer: the mixes of llama.cpp.
//!
//! What an attention adds to the stream goes through its values, and what a feed-forward layer adds goes through its
//! last matrix: errors there are not softened by what follows. So the words that end in `_M` and `_L` give these
//! matrices more bits, in some layers: the first and last eighth and every third between.
//!
//! `v` stands for values, alone or fused with queries and keys, `down` for the last matrix of a feed-forward layer,
//! `out` for the output of an attention; *some* are the layers just named, `n` is the number of layers.
//!
//! | word | most | `v` | `down` | `out` |
//! |---|---|---|---|---|
//! | Q2_K | Q2_K | Q3_K, Q4_K where four heads or more share values | Q3_K | Q3_K |
//! | Q3_K_S | Q3_K | | | |
//! | Q3_K_M | Q3_K | Q5_K in the first two, else Q4_K | Q5_K in the first `n`/16, else Q4_K | Q4_K |
//! | Q3_K_L | Q3_K | Q5_K | Q5_K | Q5_K |
//! | Q4_K_S | Q4_K | Q5_K in the first four | Q5_K in the first `n`/8 | |
//! | Q4_K_M | Q4_K | Q6_K in some | Q6_K in some | |
//! | Q5_K_M | Q5_K | Q6_K in some | Q6_K in some | |
//! | IQ4_NL, IQ4_XS | itself | Q5_K where four heads or more share values | Q5_K in the first `n`/8 | |
//!
//! Falcon has exceptions, as have LLaMA 2 70B, whose values are an eighth of a matrix, and mixtures of eight experts,
//! whose experts outweigh everything else.

use std::collections::BTreeMap;

use gristmill_tensor::{Checkpoint, DType, MetaValue, keys};

use crate::{OutType, Result};

/// What must be known of a model to choose types as llama.cpp does.
pub(crate) struct Mix {
    is_falcon: bool,
    is_llama_70b: bool,
    n_layers: usize,
    n_experts: usize,
    /// Query heads that share a key and a value.
    group: usize,
    /// The names of the values' matrices, of those at the end of feed-forward layers, with their place in the order of
    /// layers.
    values: BTreeMap<String, usize>,
    downs: BTreeMap<String, usize>,
}

impl Mix {
    /// The mix for `source`, whose tensors have these house names.
    pub(crate) fn new<'a>(
        source: &dyn Checkpoint,
        names: impl Iterator<Item = &'a str>,
    ) -> Result<Mix> {
        let metadata = source.metadata();
        let arch = metadata.get_str(keys::ARCHITECTURE)?.unwrap_or_default();
        let number = |suffix| first_number(metadata.get(&keys::arch(arch, suffix)));
        let n_layers = number(keys::BLOCK_COUNT).unwrap_or(0);
        let n_heads = number(keys::HEAD_COUNT).unwrap_or(0);
        let n_kv_heads = number(keys::HEAD_COUNT_KV).unwrap_or(n_heads);
        let mut names: Vec<&str> = names.collect();
        names.sort_by_key(|name| (layer_of(name), *name));
        let numbered = |is: fn(&str) -> bool| {
            let names = names.iter().filter(|name| is(name));
            names.enumerate().map(|(place, name)| (name.to_string(), place)).collect()
        };
        Ok(Mix {
            is_falcon: arch == "falcon",
            is_llama_70b: arch == "llama" && n_layers == 80 && n_heads != n_kv_heads,
            n_layers,
            n_experts: number("expert_count").unwrap_or(0),
            group: n_heads.checked_div(n_kv_heads).unwrap_or(0),
            values: numbered(is_value),
            downs: numbered(is_down),
        })
    }

    /// The type of the matrix that gives the logits.
    pub(crate) fn output(&self, asked: DType, row_len: usize) -> DType {
        let whole_blocks = DType::Q6_K.row_bytes(row_len).is_some();
        match asked {
            DType::Q8_0 => DType::Q8_0,
            _ if self.is_falcon || !whole_blocks => DType::Q8_0,
            _ => DType::Q6_K,
        }
    }

    /// The type of any other matrix, in a file of this type.
    pub(crate) fn inner(&self, outtype: OutType, asked: DType, name: &str) -> DType {
        if let Some(&place) = self.values.get(name) {
            return self.value(outtype, place).unwrap_or(asked);
        }
        if let Some(&place) = self.downs.get(name) {
            // Experts come in no order, so theirs is the number in the name.
            let layer = if self.n_experts > 1 { layer_of(name).unwrap_or(place) } else { place };
            return self.down(outtype, layer).unwrap_or(asked);
        }
        if name.contains("attn_k.weight") && self.n_experts == 8 {
            return DType::Q8_0;
        }
        if name.contains("attn_output.weight") {
            return self.attention_output(outtype).unwrap_or(asked);
        }
        asked
    }

    fn value(&self, outtype: OutType, place: usize) -> Option<DType> {
        use OutType::*;
        let is_shared = self.group >= 4;
        let dtype = match outtype {
            Q2_K if is_shared => Some(DType::Q4_K),
            Q2_K => Some(DType::Q3_K),
            Q3_K_M if place < 2 => Some(DType::Q5_K),
            Q3_K_M => Some(DType::Q4_K),
            Q3_K_L => Some(DType::Q5_K),
            Q4_K_S if place < 4 => Some(DType::Q5_K),
            IQ4_NL | IQ4_XS if is_shared => Some(DType::Q5_K),
            Q4_K_M | Q5_K_M if is_chosen(place, self.values.len()) => Some(DType::Q6_K),
            _ => None,
        };
        match dtype.or(outtype.dtype()) {
            _ if self.n_experts == 8 => Some(DType::Q8_0),
            Some(DType::Q3_K | DType::Q4_K) if self.is_llama_70b => Some(DType::Q5_K),
            _ => dtype,
        }
    }

    fn down(&self, outtype: OutType, layer: usize) -> Option<DType> {
        use OutType::*;
        let n = self.n_layers;
        let is_chosen = is_chosen(layer, n);
        match outtype {
            Q2_K => Some(DType::Q3_K),
            Q3_K_M if layer < n / 16 => Some(DType::Q5_K),
            Q3_K_M if !self.is_falcon || is_chosen => Some(DType::Q4_K),
            Q3_K_L if self.is_falcon => Some(DType::Q4_K),
            Q3_K_L => Some(DType::Q5_K),
            Q4_K_S if layer < n / 8 && !self.is_falcon => Some(DType::Q5_K),
            Q4_K_M if self.is_falcon && layer >= n / 16 => Some(DType::Q5_K).filter(|_| is_chosen),
            Q4_K_M if self.is_falcon => Some(DType::Q6_K),
            Q4_K_M | Q5_K_M if is_chosen => Some(DType::Q6_K),
            IQ4_NL | IQ4_XS if layer < n / 8 => Some(DType::Q5_K),
            _ => None,
        }
    }

    fn attention_output(&self, outtype: OutType) -> Option<DType> {
        use OutType::*;
        match outtype {
            Q3_K_L if self.is_falcon => Some(DType::Q4_K),
            _ if self.is_falcon => None,
            Q2_K | Q3_K_S | Q3_K_M | Q4_K_S | Q4_K_M | IQ4_NL | IQ4_XS if self.n_experts == 8 => {
                Some(DType::Q5_K)
            }
            _ if self.n_experts == 8 => None,
            Q2_K => Some(DType::Q3_K),
            Q3_K_M => Some(DType::Q4_K),
            Q3_K_L => Some(DType::Q5_K),
            _ => None,
        }
    }
}

/// The first and last eighth of `n` layers, and every third between.
fn is_chosen(layer: usize, n: usize) -> bool {
    layer < n / 8 || layer >= 7 * n / 8 || (layer - n / 8) % 3 == 2
}

fn is_value(name: &str) -> bool {
    ["attn_v.weight", "attn_qkv.weight", "attn_kv_b.weight"].iter().any(|part| name.contains(part))
}

fn is_down(name: &str) -> bool {
    name.contains("ffn_down") && name.ends_with("weight")
}

/// The number after `blk.`; names without one come first.
fn layer_of(name: &str) -> Option<usize> {
    name.strip_prefix("blk.")?.split('.').next()?.parse().ok()
}

/// A number, or the first of several: some files have one for each layer.
fn first_number(value: Option<&MetaValue>) -> Option<usize> {
    let value = value?;
    let first = value.as_array().and_then(|array| array.get(0));
    first.as_ref().unwrap_or(value).as_u64().and_then(|number| usize::try_from(number).ok())
}

/// What takes the place of a type in rows that are not whole blocks of it; `None` for types that nothing replaces.
pub(crate) fn fallback(dtype: DType) -> Option<DType> {
    match dtype {
        DType::Q2_K | DType::Q3_K => Some(DType::Q4_0),
        DType::Q4_K => Some(DType::Q5_0),
        DType::Q5_K => Some(DType::Q5_1),
        DType::Q6_K => Some(DType::Q8_0),
        DType::IQ4_XS => Some(DType::IQ4_NL),
        _ => None,
    }
}
