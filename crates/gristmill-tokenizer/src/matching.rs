//! Whether a tokenizer belongs to a bare vocabulary: the check before one takes the place of the other.

use crate::vocab::Kind;
use crate::{Error, Result, Tokenizer};

/// The bytes that a converter wrote for a byte that is no character by itself.
const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();

/// Compares the bytes of all tokens that both have as text.
pub(crate) fn check(tokenizer: &Tokenizer, bare: &Tokenizer) -> Result<()> {
    for (id, token) in bare.vocab.iter() {
        let spelled = |kind| matches!(kind, Kind::Normal | Kind::UserDefined | Kind::Byte);
        let ours = tokenizer.vocab.get(id);
        let repeated = bare.vocab.id(&token.text) != Some(id);
        if !spelled(token.kind) || repeated || ours.is_some_and(|ours| !spelled(ours.kind)) {
            continue;
        }
        let (bytes, bare_bytes) = (tokenizer.token_bytes(id), bare.token_bytes(id));
        let mangled = bare_bytes.windows(REPLACEMENT.len()).any(|part| part == REPLACEMENT);
        if bytes != bare_bytes && !mangled {
            return Err(Error::Differs {
                file: tokenizer.origin.clone(),
                bare: bare.origin.clone(),
                id,
                text: ours.map_or_else(String::new, |ours| ours.text.to_string()),
                bare_text: token.text.to_string(),
            });
        }
    }
    Ok(())
}
