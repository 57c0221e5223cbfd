//! The tokenizer: one vocabulary, one scheme, and the tokens with a role.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use gristmill_tensor::{Limits, Metadata};

use crate::byte_level;
use crate::encoder::Encoder;
use crate::scheme::{BLANK, Blanks, Scheme};
use crate::special::{ROLES, Role, Special};
use crate::vocab::{Kind, Vocab, byte_piece};
use crate::{Error, Note, Result, TextStream, TokenId, files, load, matching, save};

/// What [`Tokenizer::encode`] does besides cutting text into pieces.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EncodeOptions {
    /// Put BOS in front and EOS behind, as far as the model wants them.
    pub add_special: bool,
    /// Read the spelling of special tokens as those tokens. Leave it off for text from outside, which could otherwise
    /// forge the turns of a chat.
    pub parse_special: bool,
}

/// Text to token ids and back, for one model.
///
/// Cheap to share between threads; nothing changes after loading.
pub struct Tokenizer {
    pub(crate) origin: String,
    pub(crate) vocab: Arc<Vocab>,
    pub(crate) scheme: Scheme,
    pub(crate) special: Special,
    pub(crate) templates: Vec<(String, String)>,
    pub(crate) kept: Option<Kept>,
    encoder: Encoder,
    notes: Vec<Note>,
    kind: String,
}

/// The tokenizer.json that a tokenizer was read from.
#[derive(Clone)]
pub(crate) struct Kept {
    pub(crate) json: String,
    /// What GGUF's own keys cannot say of it, if there is anything.
    pub(crate) note: Option<Note>,
}

/// What a reader gives.
pub(crate) struct Parts {
    pub(crate) origin: String,
    pub(crate) vocab: Arc<Vocab>,
    pub(crate) scheme: Scheme,
    pub(crate) special: Special,
    pub(crate) encoder: Encoder,
    pub(crate) templates: Vec<(String, String)>,
    pub(crate) notes: Vec<Note>,
    pub(crate) kept: Option<Kept>,
}

impl Tokenizer {
    /// Reads the tokenizer of a model folder: tokenizer.json, else tokenizer.model, else vocab.json with merges.txt.
    /// tokenizer_config.json, special_tokens_map.json, generation_config.json, config.json, added_tokens.json and
    /// chat_template.jinja are consulted where they are there.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is no tokenizer, [`Error::Malformed`] and [`Error::Unsupported`] for what is in
    /// the files, [`Error::File`] when they cannot be read.
    pub fn from_folder(folder: &Path, limits: &Limits) -> Result<Tokenizer> {
        load::from_folder(folder, limits)
    }

    /// Reads a tokenizer that the user points at: a folder, as [`from_folder`](Self::from_folder) does, or a
    /// tokenizer.json or tokenizer.model by whatever name, with the files beside it.
    ///
    /// # Errors
    /// As for [`from_folder`](Self::from_folder).
    pub fn from_path(path: &Path, limits: &Limits) -> Result<Tokenizer> {
        load::from_path(path, limits)
    }

    /// Builds the tokenizer that a GGUF file (or a legacy ggml file, whose reader answers in the same keys) carries.
    ///
    /// # Errors
    /// As for [`from_folder`](Self::from_folder); the place is a key.
    pub fn from_metadata(metadata: &Metadata) -> Result<Tokenizer> {
        load::from_metadata(metadata)
    }

    /// Replaces all `tokenizer.*` keys so that the file stands alone. `n_vocab` is the number of rows of the
    /// embedding; ids without a token are padded with unused ones.
    ///
    /// The notes say what GGUF's keys cannot express; the exact tokenizer.json is then stored beside them.
    ///
    /// # Errors
    /// [`Error::TooManyTokens`] when the embedding has fewer rows than there are tokens.
    pub fn to_metadata(&self, n_vocab: usize, metadata: &mut Metadata) -> Result<Vec<Note>> {
        save::to_metadata(self, n_vocab, metadata)
    }

    /// The files of a folder that Hugging Face's transformers loads with this tokenizer, by name: tokenizer.json,
    /// tokenizer_config.json, special_tokens_map.json, and tokenizer.model for SentencePiece vocabularies. A tokenizer
    /// that was read from a tokenizer.json gives that text again.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when the vocabulary is a legacy file's and its merges cannot be told from it.
    pub fn to_files(&self) -> Result<Vec<(String, Vec<u8>)>> {
        files::to_files(self)
    }

    /// Checks that this tokenizer is the one whose bare vocabulary a legacy file has: the same texts at the same ids,
    /// save for special tokens, padding, and texts that the file's writer mangled.
    ///
    /// # Errors
    /// [`Error::Differs`], which names the first id with another text.
    pub fn check_matches(&self, bare: &Tokenizer) -> Result<()> {
        matching::check(self, bare)
    }

    pub(crate) fn assemble(parts: Parts) -> Tokenizer {
        let Parts { origin, vocab, scheme, special, encoder, templates, notes, kept } = parts;
        let kind = match &scheme {
            Scheme::ByteLevel { name, .. } => format!("BPE (byte-level), pre {name}"),
            Scheme::SentencePiece(_) => "SentencePiece BPE".to_owned(),
            Scheme::Unigram(_) => "SentencePiece unigram".to_owned(),
            Scheme::Longest => "legacy byte-level, longest token first".to_owned(),
            Scheme::Squares(_) => "legacy SentencePiece, longest pieces".to_owned(),
        };
        Tokenizer { origin, vocab, scheme, special, templates, kept, encoder, notes, kind }
    }

    /// The tokens of `text`.
    ///
    /// # Errors
    /// [`Error::Encode`] when the model names an unknown token that it does not have, or when the text has hundreds of
    /// thousands of blanks in a row.
    pub fn encode(&self, text: &str, options: EncodeOptions) -> Result<Vec<TokenId>> {
        let error = |what| Error::Encode { file: self.origin.clone(), what };
        if matches!(self.scheme, Scheme::ByteLevel { .. }) && longest_blank_run(text) > MAX_BLANKS {
            let what = format!("it has more than {MAX_BLANKS} blanks in a row");
            return Err(error(what));
        }
        let mut tokens = Vec::new();
        if options.add_special {
            tokens.extend(&self.special.prefix);
        }
        let pieces = self.encoder.encode(text, options.parse_special);
        tokens.extend(pieces.map_err(|source| error(source.to_string()))?);
        if options.add_special {
            tokens.extend(&self.special.suffix);
        }
        Ok(tokens)
    }

    /// The text of `ids`. Bytes that are not UTF-8 become U+FFFD; ids outside the vocabulary give nothing.
    pub fn decode(&self, ids: &[TokenId], skip_special: bool) -> String {
        let mut stream = TextStream::new(self, skip_special);
        let mut text: String = ids.iter().map(|&id| stream.push(id)).collect();
        text.push_str(&stream.flush());
        text
    }

    /// The bytes that one token adds to a text: byte-level letters undone, U+2581 as a blank, `<0xHH>` as that byte.
    /// Special and user-defined tokens give their text, unused ones and ids outside the vocabulary nothing.
    pub fn token_bytes(&self, id: TokenId) -> Vec<u8> {
        let Some(token) = self.vocab.get(id) else { return Vec::new() };
        match (token.kind, self.scheme.is_byte_level()) {
            (Kind::Unused, _) => Vec::new(),
            (Kind::Control | Kind::Unknown, _) => token.text.as_bytes().to_vec(),
            (Kind::UserDefined, true) => token.text.as_bytes().to_vec(),
            (_, true) => byte_level::to_bytes(&token.text),
            (kind, false) => match byte_piece(&token.text).filter(|_| kind == Kind::Byte) {
                Some(byte) => vec![byte],
                None => token.text.replace(BLANK, " ").into_bytes(),
            },
        }
    }

    /// The text of a token as the vocabulary has it.
    pub fn token_text(&self, id: TokenId) -> Option<String> {
        self.vocab.text(id).map(str::to_owned)
    }

    /// The id of a token by its text in the vocabulary.
    pub fn token_id(&self, text: &str) -> Option<TokenId> {
        self.vocab.id(text)
    }

    /// Number of tokens, with all added ones. The embedding may have more rows.
    pub fn n_vocab(&self) -> usize {
        self.vocab.len()
    }

    /// Begin of text.
    pub fn bos(&self) -> Option<TokenId> {
        self.special.get(Role::Bos)
    }

    /// End of text.
    pub fn eos(&self) -> Option<TokenId> {
        self.special.get(Role::Eos)
    }

    /// Whether generation ends at this token: end of text, end of a turn, and what looks like one.
    pub fn is_eog(&self, id: TokenId) -> bool {
        self.special.ends.contains(&id)
    }

    /// Whether this is a control or unknown token, which `skip_special` leaves out.
    pub fn is_special(&self, id: TokenId) -> bool {
        self.vocab.get(id).is_some_and(|token| matches!(token.kind, Kind::Control | Kind::Unknown))
    }

    /// Whether `add_special` puts BOS in front.
    pub fn adds_bos(&self) -> bool {
        self.bos().is_some() && self.special.prefix.first().copied() == self.bos()
    }

    /// Whether `add_special` puts EOS behind.
    pub fn adds_eos(&self) -> bool {
        self.eos().is_some() && self.special.suffix.last().copied() == self.eos()
    }

    /// The chat template (Jinja), the default one where there are several. Untrusted, as the file is.
    pub fn chat_template(&self) -> Option<&str> {
        let default = self.templates.iter().find(|(name, _)| name == "default");
        default.or(self.templates.first()).map(|(_, template)| template.as_str())
    }

    /// The text of a special token by the name that chat templates use: `bos_token`, `eos_token`, `pad_token`, ….
    pub fn special_text(&self, name: &str) -> Option<&str> {
        let names = ROLES.iter().find(|names| names.config == name)?;
        self.vocab.text(self.special.get(names.role)?)
    }

    /// The kind of the tokenizer, for people: `"BPE (byte-level), pre gpt-2"`.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// What was remarkable while loading.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// Whether decoding takes a blank off the front of the text.
    pub(crate) fn strips_prefix(&self) -> bool {
        match &self.scheme {
            Scheme::ByteLevel { .. } | Scheme::Longest => false,
            Scheme::Squares(Blanks { strip_prefix, .. })
            | Scheme::SentencePiece(Blanks { strip_prefix, .. })
            | Scheme::Unigram(Blanks { strip_prefix, .. }) => *strip_prefix,
        }
    }
}

/// Word patterns look ahead behind blanks; the regular expressions give up, silently, after a million steps.
const MAX_BLANKS: usize = 250_000;

/// The most white space between two other characters, in bytes.
fn longest_blank_run(text: &str) -> usize {
    text.split(|character: char| !character.is_whitespace()).map(str::len).max().unwrap_or(0)
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokenizer")
            .field("origin", &self.origin)
            .field("kind", &self.kind)
            .field("n_vocab", &self.n_vocab())
            .finish_non_exhaustive()
    }
}
