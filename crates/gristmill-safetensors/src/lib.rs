//! Reads and writes safetensors, one file or sharded by an index.
