//! Text to token ids and back, from every tokenizer file and from GGUF keys.
