//! What happens to a text before it is cut: Hugging Face's normalizers in a row, with bounds.
//!
//! Replacement is our own, because Hugging Face's loses count (and panics) when a pattern matches nothing at a place,
//! and a hostile row of replacements could double the text again and again.

use serde_json::{Value, json};
use tokenizers::utils::SysRegex;
use tokenizers::{NormalizedString, Normalizer, NormalizerWrapper};

/// A text may become this many times longer; Unicode's own forms need 18.
const MAX_GROWTH: usize = 64;

/// Normalizers, one after the other. Should a hostile row blow up the text, the rest of the row is left out.
pub(crate) struct Row(pub(crate) Vec<Step>);

/// One normalizer.
pub(crate) enum Step {
    /// Every match of a pattern gives way to a text.
    Replace { pattern: Pattern, content: String },
    /// One of Hugging Face's.
    HuggingFace(NormalizerWrapper),
}

/// What is searched for.
pub(crate) enum Pattern {
    Text(String),
    /// The regular expression as it is written, and ready for use.
    Regex(String, SysRegex),
}

impl Step {
    /// A normalizer of a tokenizer.json, which is no sequence.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn from_json(value: &Value) -> Result<Step, String> {
        if value.get("type").and_then(Value::as_str) != Some("Replace") {
            return serde_json::from_value(value.clone())
                .map(Step::HuggingFace)
                .map_err(|error| error.to_string());
        }
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        let content = text(value.get("content")).ok_or("a Replace has no content")?;
        let pattern = value.get("pattern").ok_or("a Replace has no pattern")?;
        let pattern = match (text(pattern.get("String")), text(pattern.get("Regex"))) {
            (Some(text), _) => Pattern::Text(text),
            (None, Some(regex)) => Pattern::regex(regex)?,
            (None, None) => return Err("a Replace has no pattern".to_owned()),
        };
        Ok(Step::Replace { pattern, content })
    }

    /// Replaces a plain text.
    pub(crate) fn replace(text: &str, content: &str) -> Step {
        let pattern = Pattern::Text(text.to_owned());
        Step::Replace { pattern, content: content.to_owned() }
    }

    /// Joins runs of blanks into one.
    pub(crate) fn join_blanks() -> Step {
        let pattern = Pattern::regex(" {2,}".to_owned()).expect("the pattern is valid");
        Step::Replace { pattern, content: " ".to_owned() }
    }
}

impl Pattern {
    fn regex(pattern: String) -> Result<Pattern, String> {
        let regex = SysRegex::new(&pattern).map_err(|error| error.to_string())?;
        Ok(Pattern::Regex(pattern, regex))
    }

    /// As tokenizer.json has it.
    pub(crate) fn to_json(&self) -> Value {
        match self {
            Pattern::Text(text) => json!({"String": text}),
            Pattern::Regex(pattern, _) => json!({"Regex": pattern}),
        }
    }
}

impl Normalizer for Row {
    fn normalize(&self, normalized: &mut NormalizedString) -> tokenizers::Result<()> {
        let limit = normalized.get().len().saturating_mul(MAX_GROWTH).saturating_add(4096);
        for step in &self.0 {
            match step {
                Step::Replace { pattern, content } => replace(normalized, pattern, content),
                Step::HuggingFace(normalizer) => normalizer.normalize(normalized)?,
            }
            if normalized.get().len() > limit {
                break;
            }
        }
        Ok(())
    }
}

/// Replaces every match that is not empty.
fn replace(normalized: &mut NormalizedString, pattern: &Pattern, content: &str) {
    let text = normalized.get();
    let matches: Vec<(usize, usize)> = match pattern {
        Pattern::Text(pattern) if pattern.is_empty() => Vec::new(),
        Pattern::Text(pattern) => {
            text.match_indices(pattern).map(|(at, found)| (at, at + found.len())).collect()
        }
        Pattern::Regex(_, regex) => {
            regex.find_iter(text).filter(|(start, end)| start < end).collect()
        }
    };
    if matches.is_empty() {
        return;
    }
    // Each new character says how it came: 0 replaces one old character, 1 is new, -n also removes n behind it.
    let mut new: Vec<(char, isize)> = Vec::with_capacity(text.len());
    let mut removed_in_front = 0;
    let mut done = 0;
    for (start, end) in matches {
        new.extend(text[done..start].chars().map(|character| (character, 0)));
        let mut n_old = text[start..end].chars().count();
        for character in content.chars() {
            new.push((character, isize::from(n_old == 0)));
            n_old = n_old.saturating_sub(1);
        }
        match new.last_mut() {
            Some((_, change)) => *change -= n_old.cast_signed(),
            None => removed_in_front += n_old,
        }
        done = end;
    }
    new.extend(text[done..].chars().map(|character| (character, 0)));
    normalized.transform(new, removed_in_front);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_replaces(pattern: Value, content: &str, text: &str, expected: &str) {
        let json = json!({"type": "Replace", "pattern": pattern, "content": content});
        let mut normalized = NormalizedString::from(text);
        Row(vec![Step::from_json(&json).unwrap()]).normalize(&mut normalized).unwrap();
        assert_eq!(normalized.get(), expected);
        assert_eq!(normalized.get_original(), text);
    }

    #[test]
    fn replaces_by_shorter_equal_and_longer_texts() {
        assert_replaces(json!({"String": " "}), "▁", " a b  c", "▁a▁b▁▁c");
        assert_replaces(json!({"String": "bc"}), "", "bcabcbc", "a");
        assert_replaces(json!({"String": "a"}), "xyz", "aba", "xyzbxyz");
        assert_replaces(json!({"Regex": " {2,}"}), " ", "   a  b ", " a b ");
        assert_replaces(json!({"String": "é"}), "", "éé", "");
    }

    #[test]
    fn matches_of_nothing_replace_nothing() {
        assert_replaces(json!({"Regex": "x*"}), "-", "axxb", "a-b");
        assert_replaces(json!({"Regex": "(?=a)"}), "-", "äa", "äa");
        assert_replaces(json!({"String": ""}), "-", "a", "a");
    }
}
