//! Tiny checkpoints from a seed, comparisons and corrupters for gristmill's own tests.
