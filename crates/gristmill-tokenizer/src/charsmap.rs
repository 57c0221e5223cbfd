//! SentencePiece's compiled table of character replacements: checked before Hugging Face's code walks it.
//!
//! The table is `u32 size`, a double-array trie of `size / 4` words and the replacements, each ended by a NUL. The trie
//! is walked with unchecked indices, so a hostile table could index anywhere. Here every reachable node is visited
//! once, and each step that *any* text could take is shown to stay inside.

use tokenizers::normalizers::Precompiled;

use crate::{Error, Result};

/// Larger than any released table (the largest have 250 kB); walking takes 64 steps for each byte.
const MAX_BYTES: usize = 4 << 20;

/// The normalizer of a checked table.
///
/// # Errors
/// [`Error::Malformed`] when the table is broken.
pub(crate) fn normalizer(file: &str, charsmap: &[u8]) -> Result<Precompiled> {
    let malformed = |what: &str| Error::malformed(file, "precompiled_charsmap", what);
    check(charsmap).map_err(malformed)?;
    Precompiled::from(charsmap).map_err(|error| malformed(&error.to_string()))
}

fn check(charsmap: &[u8]) -> Result<(), &'static str> {
    if charsmap.len() > MAX_BYTES {
        return Err("is larger than any real table");
    }
    let (size, rest) = charsmap.split_first_chunk::<4>().ok_or("is too short")?;
    let size = u32::from_le_bytes(*size) as usize / 4 * 4;
    let (trie, replacements) = rest.split_at_checked(size).ok_or("is shorter than it says")?;
    let replacements = str::from_utf8(replacements).map_err(|_| "has replacements not in UTF-8")?;
    let units: Vec<usize> =
        trie.as_chunks::<4>().0.iter().map(|unit| u32::from_le_bytes(*unit) as usize).collect();
    let mut visited = vec![false; units.len()];
    let mut open = vec![0usize];
    *visited.first_mut().ok_or("has no trie")? = true;
    while let Some(node) = open.pop() {
        let children = node ^ offset(units[node]);
        for byte in 1..=255 {
            let child = children ^ byte;
            let &unit = units.get(child).ok_or("points outside its trie")?;
            if unit & ((1 << 31) | 0xff) != byte || visited[child] {
                continue;
            }
            visited[child] = true;
            open.push(child);
            if (unit >> 8) & 1 == 1 {
                let leaf = child ^ offset(unit);
                let value = units.get(leaf).ok_or("points outside its trie")? & ((1 << 31) - 1);
                if !replacements.is_char_boundary(value) {
                    return Err("points outside its replacements");
                }
            }
        }
    }
    Ok(())
}

/// Where the children of a node are, relative to the node.
fn offset(unit: usize) -> usize {
    (unit >> 10) << ((unit & (1 << 9)) >> 6)
}

/// The bytes of a base64 text, as tokenizer.json holds the table.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    let (mut buffer, mut n_bits) = (0u32, 0);
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        buffer = buffer << 6 | u32::from(value);
        n_bits += 6;
        if n_bits >= 8 {
            n_bits -= 8;
            bytes.push((buffer >> n_bits) as u8);
            buffer &= (1 << n_bits) - 1;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A trie that replaces "A" by "b": the root's children start at 256.
    fn table() -> Vec<u8> {
        let mut units = vec![0u32; 512];
        units[0] = 256 << 10;
        let a = 256 ^ usize::from(b'A');
        units[a] = u32::from(b'A') | 1 << 8 | ((a ^ 300) as u32) << 10;
        units[300] = 0;
        let mut table = (units.len() as u32 * 4).to_le_bytes().to_vec();
        table.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
        table.extend(b"b\0");
        table
    }

    #[test]
    fn a_sound_table_replaces() {
        let normalizer = normalizer("test", &table()).unwrap();
        assert_eq!(normalizer.normalize_string("cAc"), "cbc");
    }

    #[test]
    fn refuses_a_trie_that_leads_outside() {
        let mut table = table();
        let a = 4 + 4 * (256 ^ usize::from(b'A'));
        table[a + 3] = 0x40;
        assert_eq!(check(&table), Err("points outside its trie"));
    }

    #[test]
    fn refuses_a_replacement_behind_the_end() {
        let mut table = table();
        table[4 + 4 * 300] = 9;
        assert_eq!(check(&table), Err("points outside its replacements"));
    }

    #[test]
    fn refuses_every_truncation() {
        let table = table();
        for length in 0..table.len() - 2 {
            assert!(check(&table[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn base64_is_undone() {
        assert_eq!(from_base64("TWFu").unwrap(), b"Man");
        assert_eq!(from_base64("TWE=").unwrap(), b"Ma");
        assert_eq!(from_base64("T!=="), None);
    }
}
