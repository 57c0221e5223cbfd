//! The table behind `tokenizer.ggml.pre`: names, cuts and flags of every byte-level family.
//!
//! Rows of one structure stand together; the first name of the first row is written for new files, so the oldest name
//! comes first, which the most programs know. Source: llama.cpp `llama-vocab.cpp`, and the tokenizer.json of the
//! models that gave the names.

use crate::pre::{Cut, Family, GPT2};
use Cut::{Digits, Gpt2, Punctuation, Split};

const BLOOM: &str = " ?[^(\\s|[.,!?\u{2026}\u{3002}\u{FF0C}\u{3001}\u{964}\u{6D4}\u{60C}])]+";
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN35: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const DEEPSEEK_WORDS: &str = r"\s?[A-Za-z\x{B5}\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{1BA}\x{1BC}-\x{1BF}\x{1C4}-\x{293}\x{295}-\x{2AF}\x{370}-\x{373}\x{376}\x{377}\x{37B}-\x{37D}\x{37F}\x{386}\x{388}-\x{38A}\x{38C}\x{38E}-\x{3A1}\x{3A3}-\x{3F5}\x{3F7}-\x{481}\x{48A}-\x{52F}\x{531}-\x{556}\x{10A0}-\x{10C5}\x{13A0}-\x{13F5}\x{13F8}-\x{13FD}\x{1C90}-\x{1CBA}\x{1CBD}-\x{1CBF}\x{1D00}-\x{1D2B}\x{1D6B}-\x{1D77}\x{1D79}-\x{1D9A}\x{1E00}-\x{1F15}\x{1F18}-\x{1F1D}\x{1F20}-\x{1F45}\x{1F48}-\x{1F4D}\x{1F50}-\x{1F57}\x{1F59}\x{1F5B}\x{1F5D}\x{1F5F}-\x{1F7D}\x{1F80}-\x{1FB4}\x{1FB6}-\x{1FBC}\x{1FBE}\x{1FC2}-\x{1FC4}\x{1FC6}-\x{1FCC}\x{1FD0}-\x{1FD3}\x{1FD6}-\x{1FDB}\x{1FE0}-\x{1FEC}\x{1FF2}-\x{1FF4}\x{1FF6}-\x{1FFC}\x{2102}\x{2107}\x{210A}-\x{2113}\x{2115}\x{2119}-\x{211D}\x{2124}\x{2126}\x{2128}\x{212A}-\x{212D}\x{212F}-\x{2134}\x{2139}\x{213C}-\x{213F}\x{2145}-\x{2149}\x{214E}\x{2183}\x{2184}\x{2C00}-\x{2C7B}\x{2C7E}-\x{2CE4}\x{2CEB}-\x{2CEE}\x{2CF2}\x{2CF3}\x{A640}-\x{A66D}\x{A680}-\x{A69B}\x{A722}-\x{A76F}\x{A771}-\x{A787}\x{A78B}-\x{A78E}\x{AB70}-\x{ABBF}\x{FB00}-\x{FB06}\x{FB13}-\x{FB17}\x{FF21}-\x{FF3A}\x{FF41}-\x{FF5A}\x{10400}-\x{1044F}\x{104B0}-\x{104D3}\x{104D8}-\x{104FB}\x{10C80}-\x{10CB2}\x{10CC0}-\x{10CF2}\x{118A0}-\x{118DF}\x{1E900}-\x{1E943}]+";
const DEEPSEEK_MARKS: &str =
    r"\s?[!-/:-~\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF5E}\x{2018}-\x{201F}\x{3000}-\x{3002}]+";
const HAN_TO_HANGUL: &str = r"[\x{4E00}-\x{9FA5}\x{800}-\x{4E00}\x{AC00}-\x{D7FF}]+";
const HAN_AND_KANA: &str = r"[\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+";
const DEEPSEEK3_WORDS: &str = "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+";
const BAILING: &str = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+";
const SEED_CODER: &str = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\r\n]+|\\s*[\r\n]+|\\s+(?!\\S)|\\s+";
const EXAONE_MOE: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+";
const MINICPM5: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

const DIGIT: Cut = Digits { individual: true };
const NUMBER: Cut = Digits { individual: false };
const THREE_DIGITS: Cut = Split("[0-9][0-9][0-9]");

/// A family without flags.
const fn family(names: &'static [&'static str], cuts: &'static [Cut]) -> Family {
    Family { names, cuts, ignore_merges: false, nfc: false, add_bos: false }
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
    family(&["bloom", "poro-chat", "gpt3-finnish"], &[Split(BLOOM)]),
    family(&["viking"], &[Split(BLOOM), DIGIT]),
    family(&["deepseek-llm"], &[
        Split("[\r\n]"), Split(DEEPSEEK_WORDS), Split(DEEPSEEK_MARKS), Split(r"\s+$"),
        Split(HAN_TO_HANGUL), NUMBER,
    ]),
    family(&["deepseek-coder"], &[
        Split("[\r\n]"), Split(r"\s?\p{L}+"), Split(r"\s?\p{P}+"), Split(HAN_TO_HANGUL), DIGIT,
    ]),
    family(&["deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"], &[
        Split(r"\p{N}{1,3}"), Split(HAN_AND_KANA), Split(DEEPSEEK3_WORDS),
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
