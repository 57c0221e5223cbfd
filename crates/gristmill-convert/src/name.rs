//! What a model is called, in its metadata and as a file.
//!
//! The GGUF naming convention (ggml, `docs/gguf.md`) is `<BaseName>-<SizeLabel>-<FineTune>-<Encoding>.gguf`. The parts
//! come from the model's name, `Llama-2-7b-chat`, when that has a size in it which can be true; else the size is
//! counted and the whole name is the base name.

use gristmill_tensor::{MetaValue, Metadata, TensorInfo, keys};

/// More would not fit the file systems in use.
const MAX_NAME_BYTES: usize = 200;

/// Fills in what the metadata says about the model's name and size where it says nothing, and puts the general keys
/// first.
pub(crate) fn complete(metadata: &mut Metadata, tensors: &[TensorInfo]) {
    let n_params: f64 = tensors.iter().map(|info| info.shape.numel() as f64).sum();
    set_default(metadata, keys::TYPE, "model");
    if !metadata.contains(keys::SIZE_LABEL) {
        let name =
            metadata.get(keys::NAME).and_then(MetaValue::as_str).unwrap_or_default().to_owned();
        match Parts::of(&name, n_params) {
            Some(parts) => {
                set_default(metadata, keys::BASENAME, parts.base);
                metadata.set(keys::SIZE_LABEL, parts.size);
                if !parts.finetune.is_empty() {
                    set_default(metadata, keys::FINETUNE, parts.finetune);
                }
            }
            None => metadata.set(keys::SIZE_LABEL, size_label(n_params)),
        }
    }
    let mut ordered = Metadata::new(metadata.origin());
    for general in [true, false] {
        for (key, value) in
            metadata.iter().filter(|(key, _)| key.starts_with("general.") == general)
        {
            ordered.set(key, value.clone());
        }
    }
    *metadata = ordered;
}

fn set_default(metadata: &mut Metadata, key: &str, value: impl Into<MetaValue>) {
    if !metadata.contains(key) {
        metadata.set(key, value);
    }
}

/// The name that the GGUF naming convention gives a file with this metadata and encoding, without
/// its suffix: `tale-gptj-4M-Q4_0`.
pub fn file_stem(metadata: &Metadata, encoding: &str) -> String {
    let text =
        |key| metadata.get(key).and_then(MetaValue::as_str).map(file_part).unwrap_or_default();
    let mut base = text(keys::BASENAME);
    if base.is_empty() {
        base = text(keys::NAME);
    }
    if base.is_empty() {
        base = "model".into();
    }
    let mut parts = vec![base, text(keys::SIZE_LABEL), text(keys::FINETUNE), text(keys::VERSION)];
    parts.retain(|part| !part.is_empty());
    let joined = parts.join("-");
    let mut stem = String::new();
    stem.extend(joined.char_indices().take_while(|(at, _)| *at < MAX_NAME_BYTES).map(|(_, c)| c));
    format!("{stem}-{encoding}")
}

/// Text from a model as part of a file's name: never a path, hidden file or option.
fn file_part(text: &str) -> String {
    let allowed = |c: char| if c.is_alphanumeric() || "._+".contains(c) { c } else { '-' };
    let text: String = text.trim().chars().map(allowed).collect();
    text.trim_matches(['-', '.']).to_owned()
}

/// The parts of a model's name, normalized.
#[derive(Debug, PartialEq)]
struct Parts {
    base: String,
    size: String,
    finetune: String,
}

impl Parts {
    /// Splits `Llama-2-7b-chat`; `None` when no part of `name` can be the size of a model of `n_params` parameters.
    fn of(name: &str, n_params: f64) -> Option<Parts> {
        let words: Vec<&str> = name.split('-').filter(|word| !word.is_empty()).collect();
        let is_size = |word: &&str| {
            // People round; but a label that is far off is no size, rather the length of a context.
            label_value(word).is_some_and(|value| (value - n_params).abs() <= 0.875 * n_params)
        };
        let at = 1 + words.iter().skip(1).position(is_size)?;
        Some(Parts {
            base: words[..at].join("-"),
            size: words[at].replace('_', ".").to_ascii_uppercase(),
            finetune: words[at + 1..].join("-"),
        })
    }
}

/// The number that a label such as `7B`, `1.5b` or `350M` stands for.
fn label_value(label: &str) -> Option<f64> {
    let unit = label.chars().next_back()?;
    let power = "KMBT".find(unit.to_ascii_uppercase())? as i32 + 1;
    let digits = label.strip_suffix(unit)?.replace('_', ".");
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse::<f64>().ok()? * 1000f64.powi(power))
}

/// A count of parameters in at least two digits, as llama.cpp's converter writes it: `197K`, `4.2M`, `13B`.
fn size_label(n_params: f64) -> String {
    let (scaled, unit) = [(1e12, 'T'), (1e9, 'B'), (1e6, 'M')]
        .into_iter()
        .find(|(unit, _)| n_params > *unit)
        .map_or((n_params * 1e-3, 'K'), |(unit, letter)| (n_params / unit, letter));
    let digits = match scaled.round_ties_even() {
        rounded if rounded >= 10.0 => 0,
        rounded if rounded >= 1.0 => 1,
        _ => 2,
    };
    format!("{scaled:.digits$}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use gristmill_tensor::DType;

    #[test]
    fn sizes_have_two_digits_as_in_llama_cpp() {
        for (n_params, label) in [
            (197_376.0, "197K"),
            (38_752.0, "39K"),
            (4_210_000.0, "4.2M"),
            (1_382_000.0, "1.4M"),
            (6_050_882_784.0, "6.1B"),
            (9_960_000_000.0, "10B"),
            (12_000_000_000.0, "12B"),
            (300.0, "0.30K"),
            (1_000_000.0, "1000K"),
        ] {
            assert_eq!(size_label(n_params), label);
        }
    }

    #[test]
    fn a_size_in_the_name_is_believed_when_it_can_be_true() {
        let parts = Parts::of("Llama-2-7b-chat-hf", 6.7e9).unwrap();
        assert_eq!((&*parts.base, &*parts.size, &*parts.finetune), ("Llama-2", "7B", "chat-hf"));
        assert_eq!(Parts::of("gpt-j-6b", 6.05e9).unwrap().base, "gpt-j");
        assert_eq!(Parts::of("tale-gptj", 4.2e6), None);
        assert_eq!(Parts::of("phi-128k", 3.8e9), None, "the length of a context");
        assert_eq!(Parts::of("7b-chat", 6.7e9), None, "a name cannot begin with the size");
    }

    #[test]
    fn a_file_is_named_by_the_convention() {
        let tensors = [TensorInfo::new("t", DType::F32, [4_200_000])];
        let mut metadata = Metadata::new("test");
        metadata.set("llama.block_count", 1u32);
        metadata.set(keys::NAME, "tale-gptj");
        complete(&mut metadata, &tensors);
        assert_eq!(file_stem(&metadata, "Q4_0"), "tale-gptj-4.2M-Q4_0");
        assert_eq!(metadata.iter().last().unwrap().0, "llama.block_count");

        metadata.remove(keys::SIZE_LABEL);
        metadata.set(keys::NAME, "tale-gptj-4m");
        complete(&mut metadata, &tensors);
        assert_eq!(file_stem(&metadata, "BF16"), "tale-gptj-4M-BF16");
    }

    #[test]
    fn no_name_leads_out_of_the_folder() {
        for (name, file) in [
            ("../../etc/passwd", "etc-passwd-F16"),
            (".hidden", "hidden-F16"),
            ("-rf", "rf-F16"),
            ("a\0b/c\\d", "a-b-c-d-F16"),
            ("", "model-F16"),
            ("...", "model-F16"),
        ] {
            let mut metadata = Metadata::new("test");
            metadata.set(keys::NAME, name);
            assert_eq!(file_stem(&metadata, "F16"), file);
        }
        let mut metadata = Metadata::new("test");
        metadata.set(keys::NAME, "é".repeat(1000));
        assert!(file_stem(&metadata, "F16").len() < 255);
    }
}
