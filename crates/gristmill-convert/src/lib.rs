//! Checkpoint in, model file out: rename, reorder, quantize by policy, stream slabs in bounded memory.
