//! Streaming decoder: token by token, without ever splitting a character.

use std::borrow::Borrow;

use crate::{TokenId, Tokenizer};

/// Turns generated tokens into text as they come.
///
/// A character may be spread over several tokens; its bytes are held back until it is whole. The pieces of text that
/// `push` and `flush` give, joined, are what [`Tokenizer::decode`] gives for all tokens at once.
///
/// The tokenizer is held as whatever suits: `&Tokenizer` or `Arc<Tokenizer>`.
#[derive(Debug)]
pub struct TextStream<T> {
    tokenizer: T,
    skip_special: bool,
    held: Vec<u8>,
    started: bool,
}

impl<T: Borrow<Tokenizer>> TextStream<T> {
    /// A stream at the start of a text. With `skip_special`, control tokens give no text.
    pub fn new(tokenizer: T, skip_special: bool) -> TextStream<T> {
        TextStream { tokenizer, skip_special, held: Vec::new(), started: false }
    }

    /// A stream in the middle of a text: the first token keeps its leading blank, as a continuation wants it.
    pub fn continuing(tokenizer: T, skip_special: bool) -> TextStream<T> {
        TextStream { tokenizer, skip_special, held: Vec::new(), started: true }
    }

    /// The text that is complete with this token; often empty.
    pub fn push(&mut self, id: TokenId) -> String {
        let tokenizer = self.tokenizer.borrow();
        if self.skip_special && tokenizer.is_special(id) {
            return String::new();
        }
        let bytes = tokenizer.token_bytes(id);
        let mut bytes = bytes.as_slice();
        if !self.started && !bytes.is_empty() {
            self.started = true;
            if tokenizer.strips_prefix() {
                bytes = bytes.strip_prefix(b" ").unwrap_or(bytes);
            }
        }
        self.held.extend_from_slice(bytes);
        self.take_whole()
    }

    /// What is still held back; half a character becomes U+FFFD.
    pub fn flush(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.held)).into_owned()
    }

    /// All whole characters. Bytes that can never become one are replaced as [`String::from_utf8_lossy`] does.
    fn take_whole(&mut self) -> String {
        let mut whole = self.held.len();
        if let Some(tail) = self.held.utf8_chunks().last().map(|chunk| chunk.invalid().len())
            && tail > 0
            && unfinished(&self.held[whole - tail..])
        {
            whole -= tail;
        }
        let rest = self.held.split_off(whole);
        let text = String::from_utf8_lossy(&self.held).into_owned();
        self.held = rest;
        text
    }
}

/// Whether more bytes could make this a character.
fn unfinished(bytes: &[u8]) -> bool {
    str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}
