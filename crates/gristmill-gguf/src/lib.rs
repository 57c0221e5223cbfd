//! Reads GGUF v1 to v3, both byte orders, one file or split; writes v3.
