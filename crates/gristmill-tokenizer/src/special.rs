//! Tokens with a role: begin and end of text, padding, turns of a chat; and which tokens end a generation.
//!
//! Files name some roles by id or text. Others are guessed from the token's text, by the lists of llama.cpp
//! (`llama-vocab.cpp`), because chat models seldom say which token ends a turn.

use std::collections::BTreeSet;

use crate::TokenId;
use crate::vocab::{Kind, Vocab};

/// What a token may be for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    Bos,
    Eos,
    Unk,
    Sep,
    Pad,
    Mask,
    Eot,
    Eom,
    FimPre,
    FimSuf,
    FimMid,
    FimPad,
    FimRep,
    FimSep,
}

/// How files write a role.
pub(crate) struct RoleNames {
    pub(crate) role: Role,
    /// The GGUF keys, today's first.
    pub(crate) keys: &'static [&'static str],
    /// The key of its text in tokenizer_config.json; with `_id` behind it, of its id in config.json.
    pub(crate) config: &'static str,
    /// Texts by which the role is guessed.
    guesses: &'static [&'static str],
}

/// All roles.
#[rustfmt::skip]
pub(crate) const ROLES: [RoleNames; 14] = [
    role(Role::Bos, &["tokenizer.ggml.bos_token_id"], "bos_token", &[]),
    role(Role::Eos, &["tokenizer.ggml.eos_token_id"], "eos_token", &[]),
    role(Role::Unk, &["tokenizer.ggml.unknown_token_id"], "unk_token", &[]),
    role(Role::Sep, &["tokenizer.ggml.seperator_token_id", "tokenizer.ggml.separator_token_id"], "sep_token", &[]),
    role(Role::Pad, &["tokenizer.ggml.padding_token_id"], "pad_token", &[]),
    role(Role::Mask, &["tokenizer.ggml.mask_token_id"], "mask_token", &[]),
    role(Role::Eot, &["tokenizer.ggml.eot_token_id"], "eot_token", &[
        "<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>", "<EOT>", "_<EOT>",
        "[EOT]", "<｜end▁of▁sentence｜>", "<end_of_utterance>",
    ]),
    role(Role::Eom, &["tokenizer.ggml.eom_token_id"], "eom_token", &["<|eom_id|>"]),
    role(Role::FimPre, &["tokenizer.ggml.fim_pre_token_id", "tokenizer.ggml.prefix_token_id"], "fim_pre_token", &[
        "<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<｜fim▁begin｜>", "<PRE>", "▁<PRE>",
    ]),
    role(Role::FimSuf, &["tokenizer.ggml.fim_suf_token_id", "tokenizer.ggml.suffix_token_id"], "fim_suf_token", &[
        "<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<｜fim▁hole｜>", "<SUF>", "▁<SUF>",
    ]),
    role(Role::FimMid, &["tokenizer.ggml.fim_mid_token_id", "tokenizer.ggml.middle_token_id"], "fim_mid_token", &[
        "<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<｜fim▁end｜>", "<MID>", "▁<MID>",
    ]),
    role(Role::FimPad, &["tokenizer.ggml.fim_pad_token_id"], "fim_pad_token", &[
        "<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>",
    ]),
    role(Role::FimRep, &["tokenizer.ggml.fim_rep_token_id"], "fim_rep_token", &[
        "<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>",
    ]),
    role(Role::FimSep, &["tokenizer.ggml.fim_sep_token_id"], "fim_sep_token", &["<|file_sep|>"]),
];

const fn role(
    role: Role,
    keys: &'static [&'static str],
    config: &'static str,
    guesses: &'static [&'static str],
) -> RoleNames {
    RoleNames { role, keys, config, guesses }
}

/// Tokens that end a generation whatever the file says.
const ENDS: [&str; 22] = [
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<｜end▁of▁sentence｜>",
    "[e~[",
];

/// The roles of a vocabulary and what encoding puts around a text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Special {
    ids: [Option<TokenId>; ROLES.len()],
    /// In front of every text that asks for special tokens: usually BOS or nothing.
    pub(crate) prefix: Vec<TokenId>,
    /// Behind every such text: usually nothing.
    pub(crate) suffix: Vec<TokenId>,
    /// Tokens that end a generation.
    pub(crate) ends: BTreeSet<TokenId>,
}

impl Special {
    pub(crate) fn get(&self, role: Role) -> Option<TokenId> {
        self.ids[role as usize]
    }

    pub(crate) fn set(&mut self, role: Role, id: TokenId) {
        self.ids[role as usize] = Some(id);
    }

    /// Sets the role if it is vacant.
    pub(crate) fn propose(&mut self, role: Role, id: TokenId) {
        self.ids[role as usize].get_or_insert(id);
    }

    /// Puts BOS in front and EOS behind, as far as they are known.
    pub(crate) fn surround(&mut self, add_bos: bool, add_eos: bool) {
        self.prefix = self.get(Role::Bos).filter(|_| add_bos).into_iter().collect();
        self.suffix = self.get(Role::Eos).filter(|_| add_eos).into_iter().collect();
    }

    /// Guesses the vacant roles and collects the ends of generation. Tokens of the lists become control tokens, so
    /// that text cannot spell them unless special tokens are asked for.
    pub(crate) fn complete(&mut self, vocab: &mut Vocab) {
        for names in &ROLES {
            if self.get(names.role).is_none()
                && let Some(id) = names.guesses.iter().find_map(|text| special_id(vocab, text))
            {
                self.set(names.role, id);
            }
        }
        if self.get(Role::Eos).is_none()
            && let Some(id) = special_id(vocab, "<|endoftext|>")
        {
            self.set(Role::Eos, id);
        }
        let ends = [Role::Eos, Role::Eot, Role::Eom, Role::FimPad, Role::FimRep, Role::FimSep];
        let known: Vec<TokenId> = ends.into_iter().filter_map(|role| self.get(role)).collect();
        self.ends.extend(known);
        for text in ENDS {
            let Some(id) = special_id(vocab, text) else { continue };
            self.ends.insert(id);
            if vocab.get(id).is_some_and(|token| token.kind != Kind::Unknown) {
                vocab.set_kind(id, Kind::Control);
            }
        }
        self.unend(vocab, &["<|return|>", "<|call|>"], "<|end|>");
        self.unend(vocab, &["<|calls|>", "<|flush|>"], "<|end|>");
        self.unend(vocab, &["<|tool_response>"], "</s>");
    }

    /// In vocabularies that have all of `signs`, `text` is not an end.
    fn unend(&mut self, vocab: &Vocab, signs: &[&str], text: &str) {
        if signs.iter().all(|sign| vocab.id(sign).is_some())
            && let Some(id) = vocab.id(text)
            && self.get(Role::Eos) != Some(id)
        {
            self.ends.remove(&id);
        }
    }
}

/// The id of `text` unless it is padding.
fn special_id(vocab: &Vocab, text: &str) -> Option<TokenId> {
    vocab.id(text).filter(|&id| vocab.get(id).is_some_and(|token| token.kind != Kind::Unused))
}
