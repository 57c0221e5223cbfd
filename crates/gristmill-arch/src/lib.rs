//! What GPT-J, LLaMA and MPT are: hyperparameters, weight names, graph.
