"""Tokens per second of ctransformers: FILE ARCHITECTURE N_PROMPT N_GEN N_THREADS, printed as llama-bench does."""

import json
import sys
import time

from ctransformers import LLM, Config

file, architecture = sys.argv[1:3]
n_prompt, n_gen, n_threads = map(int, sys.argv[3:])
config = Config(context_length=n_prompt + n_gen + 1, batch_size=max(n_prompt, 1), threads=n_threads)
model = LLM(file, architecture, config=config)
TOKEN = 1  # Which one does not matter.


def rate(batches):
    """After a token that warms up, as other programs do."""
    model.reset()
    model.eval([TOKEN])
    model.reset()
    started = time.perf_counter()
    for batch in batches:
        model.eval(batch)
    return sum(map(len, batches)) / (time.perf_counter() - started)


results = []
if n_prompt:
    results.append({"n_prompt": n_prompt, "n_gen": 0, "avg_ts": rate([[TOKEN] * n_prompt])})
if n_gen:
    results.append({"n_prompt": 0, "n_gen": n_gen, "avg_ts": rate([[TOKEN]] * n_gen)})
print(json.dumps(results))
