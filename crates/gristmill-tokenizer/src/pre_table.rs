//! The table behind `tokenizer.ggml.pre`: names, cuts and flags of every byte-level family.
//!
//! Rows of one structure stand together; the first name of the first row is written for new files, so the oldest name
//! comes first, which the most programs know. Source: llama.cpp `llama-vocab.cpp`, and the tokenizer.json of the
//! models that gave the names.

use crate::pre::{Family, GPT2, Step};
use Step::{Digits, Gpt2, Punctuation, Split};

const BLOOM: &str = " ?[^(\\s|[.,!?…。，、।۔،])]+";
const BLOOM_OF_LLAMA_CPP: &str = r" ?[^(\s|.,!?…。，、।۔،)]+";
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN35: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const DEEPSEEK_WORDS: &str = r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+";
const DEEPSEEK3_WORDS: &str = "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+";
const BAILING: &str = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+";
const SEED_CODER: &str = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\r\n]+|\\s*[\r\n]+|\\s+(?!\\S)|\\s+";
const EXAONE_MOE: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+";
const MINICPM5: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

const DIGIT: Step = Digits { individual: true };
const NUMBER: Step = Digits { individual: false };
const THREE_DIGITS: Step = Split("[0-9][0-9][0-9]");

/// A family without flags.
const fn family(names: &'static [&'static str], steps: &'static [Step]) -> Family {
    Family { names, steps, ignore_merges: false, nfc: false, add_bos: false }
}

impl Family {
    const fn ignoring_merges(mut self) -> Family {
        self.ignore_merges = true;
        self
    }

    const fn nfc(mut self) -> Family {
        self.nfc = true;
        self
    }

    const fn with_bos(mut self) -> Family {
        self.add_bos = true;
        self
    }
}

/// Every family.
#[rustfmt::skip]
pub(crate) static FAMILIES: &[Family] = &[
    family(&["gpt-2", "phi-2", "jais", "jina-es", "jina-de", "jina-v1-en", "jina-v2-es", "jina-v2-de", "jina-v2-code",
             "roberta-bpe", "gigachat", "modern-bert", "exaone4", "a.x-4.0", "mellum", "trillion", "granite-docling"],
           &[Gpt2]),
    family(&["mpt", "olmo"], &[Gpt2]).nfc(),
    family(&["starcoder", "refact", "smollm", "codeshell", "exaone", "minerva-7b", "mellum2"], &[DIGIT, Gpt2]),
    family(&["command-r"], &[DIGIT, Gpt2]).nfc(),
    family(&["falcon"], &[Punctuation, Gpt2, NUMBER, THREE_DIGITS]),
    family(&["default"], &[Split(r"[\p{P}\$\+<=>\^~\|]+"), Split(GPT2), NUMBER, THREE_DIGITS]),
    family(&["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano"],
           &[Split(LLAMA3)]).ignoring_merges().with_bos(),
    family(&["dbrx", "smaug-bpe", "chatglm-bpe"], &[Split(LLAMA3)]),
    family(&["glm4", "glm5"], &[Split(LLAMA3)]).ignoring_merges(),
    family(&["qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2"], &[Split(QWEN2)]).nfc(),
    family(&["stablelm2", "hunyuan", "megrez", "grok-2", "solar-open"], &[Split(QWEN2)]),
    family(&["qwen35"], &[Split(QWEN35)]).nfc(),
    family(&["bloom"], &[Split(BLOOM)]),
    family(&["poro-chat", "gpt3-finnish"], &[Split(BLOOM_OF_LLAMA_CPP)]),
    family(&["viking"], &[Split(BLOOM_OF_LLAMA_CPP), DIGIT]),
    family(&["deepseek-llm"], &[
        Split("[\r\n]"), Split(DEEPSEEK_WORDS), Split(r"\s?[!-/:-~！-／：-～‘-‟　-。]+"), Split(r"\s+$"),
        Split("[一-龥ࠀ-一가-퟿]+"), NUMBER,
    ]),
    family(&["deepseek-coder"], &[
        Split("[\r\n]"), Split(r"\s?\p{L}+"), Split(r"\s?\p{P}+"), Split("[一-龥ࠀ-一가-퟿]+"), DIGIT,
    ]),
    family(&["deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"], &[
        Split(r"\p{N}{1,3}"), Split("[一-龥぀-ゟ゠-ヿ]+"), Split(DEEPSEEK3_WORDS),
    ]),
    family(&["tekken"], &[Split(TEKKEN)]).ignoring_merges().with_bos(),
    family(&["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"], &[Split(GPT4O)]),
    family(&["tiny_aya", "cohere2moe"], &[Split(r"\d{1,3}(?=(?:\d{3})*\b)"), Split(GPT4O)]),
    family(&["superbpe"], &[NUMBER, Split(r"(?=(\d{3})+(?!\d))")]),
    family(&["bailingmoe", "bailingmoe2", "llada-moe"], &[Split(BAILING)]),
    family(&["seed-coder"], &[Split(SEED_CODER)]),
    family(&["exaone-moe"], &[Split(EXAONE_MOE)]),
    family(&["minicpm5"], &[Split(r"\p{N}{1,3}"), Split(MINICPM5)]).ignoring_merges(),
];
