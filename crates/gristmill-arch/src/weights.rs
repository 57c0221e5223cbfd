//! The names of weights: the house's (GGUF's) and those found in the wild.
//!
//! Each architecture lays out a table of [`WeightRule`]s with the `weights!` macro, one weight per line, `{}` for the
//! number of the block. A spelling carries the transform that *it* needs: Hugging Face stores the rows of LLaMA's
//! queries in another order than Meta does, under another name.

use gristmill_tensor::TensorIndex;

use crate::{Architecture, Transform};

/// What a weight is for. The quantization policy speaks of roles, never of names.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// The table of token embeddings.
    Embedding,
    /// The table of learned positions.
    Position,
    /// The matrix of a linear layer inside a block.
    Linear,
    /// The gain of a normalization.
    Norm,
    /// The shift of a normalization or of a linear layer.
    Bias,
    /// The matrix that gives the logits.
    Output,
    /// Divisors of the rotary frequencies, computed when the model was converted.
    RopeFreqs,
}

/// A family of names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    /// The names of Hugging Face's Transformers.
    HuggingFace,
    /// The names of the original release, which legacy ggml files keep.
    Ggml,
}

/// A name in one dialect, and what must be done to the elements stored under it.
#[derive(Clone, Copy, Debug)]
pub struct Spelling {
    /// Whose name it is.
    pub dialect: Dialect,
    /// The name, `{}` standing for the number of the block.
    pub name: &'static str,
    /// From this spelling to the house's tensor.
    pub transform: Transform,
}

/// One weight of an architecture.
#[derive(Clone, Copy, Debug)]
pub struct WeightRule {
    /// The house name (GGUF's), `{}` standing for the number of the block.
    pub name: &'static str,
    /// What it is for.
    pub role: Role,
    /// Whether models without it exist.
    pub optional: bool,
    /// Names under which checkpoints store it.
    pub spellings: &'static [Spelling],
}

/// A table of rules. A row reads: role, house name, `[optional]`, then spellings as dialect, name, `@` transform.
macro_rules! weights {
    ($($role:ident $name:literal $([$optional:ident])?
        $(= $($dialect:ident $spelled:literal $(@ $transform:ident $($heads:ident)?)?),+)?;)*) => {
        &[$($crate::WeightRule {
            name: $name,
            role: $crate::Role::$role,
            optional: weights!(@optional $($optional)?),
            spellings: &[$($($crate::Spelling {
                dialect: weights!(@dialect $dialect),
                name: $spelled,
                transform: weights!(@transform $($transform $($heads)?)?),
            }),+)?],
        }),*]
    };
    (@optional) => { false };
    (@optional optional) => { true };
    (@dialect hf) => { $crate::Dialect::HuggingFace };
    (@dialect ggml) => { $crate::Dialect::Ggml };
    (@transform) => { $crate::Transform::Keep };
    (@transform InterleaveRope $heads:ident) => {
        $crate::Transform::InterleaveRope($crate::Projection::$heads)
    };
    (@transform $transform:ident) => { $crate::Transform::$transform };
}
pub(crate) use weights;

/// What a name of the wild stands for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Matched {
    /// The house name.
    pub name: String,
    /// What the weight is for.
    pub role: Role,
    /// From what is stored to the house's tensor.
    pub transform: Transform,
}

/// Finds the weight that a checkpoint of this dialect calls `spelled`, in the house's words, in those of the dialect
/// or, failing that, of any other; with and without the wrappers' prefixes (`transformer.`, `model.`, `module.`),
/// which savers add and drop freely.
pub fn match_weight(arch: &dyn Architecture, dialect: Dialect, spelled: &str) -> Option<Matched> {
    let found = |rule: &WeightRule, block: &str, transform| {
        Some(Matched { name: rule.name.replace("{}", block), role: rule.role, transform })
    };
    for rule in arch.weights() {
        if let Some(block) = block_number(rule.name, spelled) {
            return found(rule, block, Transform::Keep);
        }
    }
    for own in [true, false] {
        for rule in arch.weights() {
            let spellings = rule.spellings.iter().filter(|s| (s.dialect == dialect) == own);
            for spelling in spellings {
                if let Some(block) = block_number(unwrapped(spelling.name), unwrapped(spelled)) {
                    return found(rule, block, spelling.transform);
                }
            }
        }
    }
    None
}

/// What a checkpoint of this dialect calls the weight with this house name, and the transform from there to the
/// house, in a model with these `tensors`, which have house names. Legacy files of architectures without names of their own have Hugging Face's, but what models may lack, such
/// files have no place for.
pub fn spell(
    arch: &dyn Architecture,
    dialect: Dialect,
    house_name: &str,
    tensors: &TensorIndex,
) -> Option<(String, Transform)> {
    arch.weights().iter().find_map(|rule| {
        let block = block_number(rule.name, house_name)?;
        let used = || rule.spellings.iter().filter(|spelling| arch.goes_by(spelling, tensors));
        let own = used().find(|spelling| spelling.dialect == dialect);
        let spelling = own.or_else(|| used().next().filter(|_| !rule.optional))?;
        Some((spelling.name.replace("{}", block), spelling.transform))
    })
}

/// Whether the dialect has a name of its own for the weight with this house name.
pub fn has_own_name(arch: &dyn Architecture, dialect: Dialect, house_name: &str) -> bool {
    let rule = arch.weights().iter().find(|rule| block_number(rule.name, house_name).is_some());
    rule.is_some_and(|rule| rule.spellings.iter().any(|spelling| spelling.dialect == dialect))
}

/// The role of the weight with this house name.
pub fn role_of(arch: &dyn Architecture, house_name: &str) -> Option<Role> {
    let rule = arch.weights().iter().find(|rule| block_number(rule.name, house_name).is_some())?;
    Some(rule.role)
}

/// Whether a checkpoint's tensor carries nothing that the model needs: tables that are computed anew, causal masks.
pub fn is_ignored(arch: &dyn Architecture, spelled: &str) -> bool {
    arch.ignored().iter().any(|suffix| {
        spelled.strip_suffix(suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    })
}

/// The name without prefixes that only say in which object the model was wrapped.
fn unwrapped(mut name: &str) -> &str {
    while let Some(rest) =
        ["module.", "model.", "transformer."].iter().find_map(|prefix| name.strip_prefix(prefix))
    {
        name = rest;
    }
    name
}

/// The digits that stand where the pattern has `{}`; empty for a pattern without. `None` if the name is another.
fn block_number<'a>(pattern: &str, name: &'a str) -> Option<&'a str> {
    let Some((before, after)) = pattern.split_once("{}") else {
        return (pattern == name).then_some("");
    };
    let digits = name.strip_prefix(before)?.strip_suffix(after)?;
    // Leading zeros would give two names to one weight.
    let canonical = digits.parse::<u32>().is_ok_and(|block| block.to_string() == digits);
    canonical.then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::find;

    #[test]
    fn a_block_number_is_digits_without_leading_zeros() {
        assert_eq!(block_number("blk.{}.attn_q.weight", "blk.12.attn_q.weight"), Some("12"));
        for name in ["blk.012.attn_q.weight", "blk.+1.attn_q.weight", "blk..attn_q.weight", "blk."]
        {
            assert_eq!(block_number("blk.{}.attn_q.weight", name), None, "{name}");
        }
    }

    #[test]
    fn wrappers_prefixes_do_not_matter() {
        let gptj = find("gptj").unwrap();
        for name in
            ["transformer.h.3.ln_1.bias", "h.3.ln_1.bias", "module.transformer.h.3.ln_1.bias"]
        {
            assert_eq!(
                match_weight(gptj, Dialect::HuggingFace, name).unwrap().name,
                "blk.3.attn_norm.bias",
                "{name}"
            );
        }
        assert_eq!(match_weight(gptj, Dialect::HuggingFace, "transformer.h.3.ln_2.bias"), None);
    }

    #[test]
    fn ignored_suffixes_begin_at_a_dot() {
        let gptj = find("gptj").unwrap();
        assert!(is_ignored(gptj, "transformer.h.0.attn.masked_bias"));
        assert!(!is_ignored(gptj, "transformer.h.0.c_attn.bias"));
    }
}
