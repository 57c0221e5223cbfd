//! Pre-tokenizers: how byte-level vocabularies cut text into words before merging.
//!
//! A tokenizer.json spells its pre-tokenizer out; GGUF has only a name, `tokenizer.ggml.pre`, whose meaning is a table
//! in llama.cpp. This module knows that table by the *structure* of the pre-tokenizer, so a fine-tune with one more
//! token is still recognized (llama.cpp's converter compares hashes of a probe text instead). The patterns are those of
//! the models' own tokenizer.json where these are known, of llama.cpp elsewhere.

use std::cmp::Reverse;
use std::sync::LazyLock;

use serde_json::Value;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::punctuation::Punctuation;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{
    OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, PreTokenizerWrapper,
    SplitDelimiterBehavior,
};

use crate::pre_table::FAMILIES;

/// GPT-2's pattern, which Hugging Face's ByteLevel has built in.
pub(crate) const GPT2: &str =
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// One cut of the text; each works on what the one before left.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Cut<S = &'static str> {
    /// Every match of the pattern is a word, and so is what lies between.
    Split(S),
    /// GPT-2's pattern, then bytes to characters. Other cuts leave that to the end.
    Gpt2,
    /// Numbers apart from other text, or every digit by itself.
    Digits { individual: bool },
    /// Runs of punctuation.
    Punctuation,
}

/// One pre-tokenizer that GGUF has a name for.
#[derive(Debug)]
pub(crate) struct Family {
    /// The name written into new files; the others mean the same.
    pub(crate) names: &'static [&'static str],
    pub(crate) cuts: &'static [Cut],
    /// A word that is in the vocabulary is not built by merges.
    pub(crate) ignore_merges: bool,
    /// The models of this family normalize text to NFC first.
    pub(crate) nfc: bool,
    /// BOS is added unless the file says otherwise.
    pub(crate) add_bos: bool,
}

impl Family {
    /// The name written into new files.
    pub(crate) fn name(&self) -> &'static str {
        self.names[0]
    }

    /// The family that `tokenizer.ggml.pre` calls by this name, and the name.
    pub(crate) fn by_name(name: &str) -> Option<(&'static Family, &'static str)> {
        FAMILIES
            .iter()
            .find_map(|family| Some((family, *family.names.iter().find(|known| **known == name)?)))
    }

    /// Every name that is known, for messages.
    pub(crate) fn names() -> String {
        let names: Vec<&str> =
            FAMILIES.iter().flat_map(|family| family.names.iter().copied()).collect();
        names.join(", ")
    }

    /// The family with exactly this behavior, or the nearest one with the same cuts.
    pub(crate) fn matching(
        cuts: &[Cut<String>],
        ignore_merges: bool,
        nfc: bool,
    ) -> (Option<&'static Family>, bool) {
        let alike = |family: &&Family| {
            family.cuts.len() == cuts.len()
                && family.cuts.iter().zip(cuts).all(|(ours, theirs)| ours.equals(theirs))
        };
        let exact = FAMILIES
            .iter()
            .filter(alike)
            .find(|family| family.ignore_merges == ignore_merges && family.nfc == nfc);
        match exact {
            Some(family) => (Some(family), true),
            None => (FAMILIES.iter().find(alike), false),
        }
    }

    /// The family that cuts a sample of all sorts of text most like this pre-tokenizer.
    pub(crate) fn nearest(pre_tokenizer: &PreTokenizerWrapper) -> Option<&'static Family> {
        // Their patterns take long to compile, all of them together.
        static OURS: LazyLock<Vec<Vec<usize>>> = LazyLock::new(|| {
            let words = |family: &Family| sample_words(&family.pre_tokenizer().ok()?);
            FAMILIES.iter().map(|family| words(family).unwrap_or_default()).collect()
        });
        let wanted = sample_words(pre_tokenizer)?;
        let nearest = FAMILIES.iter().zip(&*OURS).enumerate().max_by_key(|(index, (_, found))| {
            let common = found.iter().filter(|start| wanted.contains(start)).count();
            // Of equals, the earlier family is the better known.
            (2000 * common / (found.len() + wanted.len()).max(1), Reverse(*index))
        });
        nearest.map(|(_, (family, _))| family)
    }

    /// The pre-tokenizer of this family.
    pub(crate) fn pre_tokenizer(&self) -> tokenizers::Result<PreTokenizerWrapper> {
        let mut parts = Vec::with_capacity(self.cuts.len() + 1);
        for cut in self.cuts {
            parts.push(match *cut {
                Cut::Split(pattern) => {
                    let pattern = SplitPattern::Regex(pattern.to_owned());
                    Split::new(pattern, SplitDelimiterBehavior::Isolated, false)?.into()
                }
                Cut::Gpt2 => ByteLevel::new(false, true, true).into(),
                Cut::Digits { individual } => Digits::new(individual).into(),
                Cut::Punctuation => Punctuation::new(SplitDelimiterBehavior::Contiguous).into(),
            });
        }
        if !self.cuts.contains(&Cut::Gpt2) {
            parts.push(ByteLevel::new(false, true, false).into());
        }
        Ok(Sequence::new(parts).into())
    }
}

/// Contractions, numbers, blanks, line ends, punctuation and several scripts.
const SAMPLE: &str = "Hello, it's  We'll 'S don't x=1234567 3.14 \n\n\n  if (a_b != c) {\r\n\t\treturn a[0];\n} \
    caf\u{e9} Na\u{ef}ve CamelCase HTTPServer 100% $5 ~|`^<>+ \u{201c}quote\u{201d}\u{2026} \u{4e2d}\u{6587}\u{5b57}\
    \u{3002}\u{65e5}\u{672c}\u{3042}\u{30ab} \u{d55c}\u{ad6d} \u{41f}\u{440}\u{438} \u{645}\u{631}\u{60c} \
    e\u{301} \u{b2}\u{663} \u{1f999}!!!   end  ";

/// Where the words of the sample start.
fn sample_words(pre_tokenizer: &PreTokenizerWrapper) -> Option<Vec<usize>> {
    let mut text = PreTokenizedString::from(SAMPLE);
    pre_tokenizer.pre_tokenize(&mut text).ok()?;
    let words = text.get_splits(OffsetReferential::Original, OffsetType::Byte);
    Some(words.into_iter().map(|(_, (start, _), _)| start).collect())
}

impl Cut {
    fn equals(&self, other: &Cut<String>) -> bool {
        match (self, other) {
            (Cut::Split(ours), Cut::Split(theirs)) => ours == theirs,
            (Cut::Gpt2, Cut::Gpt2) | (Cut::Punctuation, Cut::Punctuation) => true,
            (Cut::Digits { individual: ours }, Cut::Digits { individual: theirs }) => {
                ours == theirs
            }
            _ => false,
        }
    }
}

/// The cuts of the `pre_tokenizer` of a tokenizer.json; `None` when it does something that no family does.
pub(crate) fn cuts_of(pre_tokenizer: &Value) -> Option<Vec<Cut<String>>> {
    let mut parts = Vec::new();
    flatten(pre_tokenizer, &mut parts);
    let mut cuts = Vec::new();
    let mut byte_level = false;
    for part in parts {
        match part.get("type")?.as_str()? {
            "ByteLevel" => {
                if flag(part, "add_prefix_space", true) || byte_level {
                    return None;
                }
                byte_level = true;
                if flag(part, "use_regex", true) {
                    cuts.push(Cut::Gpt2);
                }
            }
            "Digits" => {
                cuts.push(Cut::Digits { individual: flag(part, "individual_digits", false) });
            }
            "Punctuation" if part.get("behavior")?.as_str()? == "Contiguous" => {
                cuts.push(Cut::Punctuation);
            }
            "Split" => cuts.push(split(part)?),
            _ => return None,
        }
    }
    // A spelled-out GPT-2 pattern just before the bytes is the built-in one.
    if let Some(last) = cuts.last_mut()
        && *last == Cut::Split(GPT2.to_owned())
    {
        *last = Cut::Gpt2;
    }
    byte_level.then_some(cuts)
}

/// Whether a `ByteLevel` stands anywhere in this part of a tokenizer.json.
pub(crate) fn has_byte_level(part: &Value) -> bool {
    let mut parts = Vec::new();
    flatten(part, &mut parts);
    parts.iter().any(|part| part.get("type").and_then(Value::as_str) == Some("ByteLevel"))
}

/// The parts of nested sequences, in order.
pub(crate) fn flatten<'a>(part: &'a Value, parts: &mut Vec<&'a Value>) {
    let lists = ["pretokenizers", "normalizers", "decoders", "processors"];
    match lists.iter().find_map(|list| part.get(list)?.as_array()) {
        Some(list) => list.iter().for_each(|part| flatten(part, parts)),
        None if part.is_null() => {}
        None => parts.push(part),
    }
}

fn flag(part: &Value, key: &str, default: bool) -> bool {
    part.get(key).and_then(Value::as_bool).unwrap_or(default)
}

/// A split whose matches and gaps are both kept; tiktoken's conversions keep only the matches of patterns that leave no
/// gap, which is the same.
fn split(part: &Value) -> Option<Cut<String>> {
    let invert = flag(part, "invert", false);
    match (part.get("behavior")?.as_str()?, invert) {
        ("Isolated", _) | ("Removed", true) => {}
        _ => return None,
    }
    let pattern = part.get("pattern")?.get("Regex")?.as_str()?;
    Some(match pattern {
        r"\p{N}" => Cut::Digits { individual: true },
        r"\p{N}+" => Cut::Digits { individual: false },
        _ => Cut::Split(pattern.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_family_builds_and_is_found_again_by_its_structure() {
        for family in FAMILIES {
            let json = serde_json::to_value(family.pre_tokenizer().unwrap()).unwrap();
            let cuts = cuts_of(&json).expect("it is made of known cuts");
            let (found, exact) = Family::matching(&cuts, family.ignore_merges, family.nfc);
            let found = found.expect("its cuts are in the table");
            assert!(exact, "{}", family.name());
            assert_eq!(found.cuts, family.cuts);
            assert_eq!((found.ignore_merges, found.nfc), (family.ignore_merges, family.nfc));
        }
    }

    #[test]
    fn well_known_families_are_the_nearest_to_themselves() {
        for name in
            ["gpt-2", "starcoder", "falcon", "llama-bpe", "qwen2", "bloom", "deepseek-v3", "tekken"]
        {
            let (family, _) = Family::by_name(name).unwrap();
            let nearest = Family::nearest(&family.pre_tokenizer().unwrap()).unwrap();
            assert_eq!(nearest.cuts, family.cuts, "{} is {}", family.name(), nearest.name());
        }
    }

    #[test]
    fn no_name_means_two_families() {
        let mut names: Vec<&str> =
            FAMILIES.iter().flat_map(|family| family.names).copied().collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn a_prefixed_space_belongs_to_no_family() {
        let json = json!({"type": "ByteLevel", "add_prefix_space": true, "use_regex": true});
        assert_eq!(cuts_of(&json), None);
    }

    #[test]
    fn other_flags_fall_back_to_the_same_cuts() {
        let json = json!({"type": "ByteLevel", "add_prefix_space": false, "use_regex": true});
        let (family, exact) = Family::matching(&cuts_of(&json).unwrap(), true, false);
        assert_eq!(family.map(Family::name), Some("gpt-2"));
        assert!(!exact);
    }
}
