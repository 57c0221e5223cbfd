//! Proof that a model file is right: perplexity and logits, measured as others measure them.
