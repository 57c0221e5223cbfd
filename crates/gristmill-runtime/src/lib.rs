//! Binds a graph to weights and runs it: plan, KV cache, session, samplers.
