"""ctransformers: FILE ARCH N PROMPT... -> one JSON object a line: {prompt_ids, ids, text}."""

import json
import sys

from ctransformers import LLM, Config

file, arch, n, *prompts = sys.argv[1:]
model = LLM(file, arch, config=Config(context_length=128, threads=1, batch_size=1))
for prompt in prompts:
    model.reset()
    prompt_ids = model.tokenize(prompt)
    for id in prompt_ids:  # One by one, since only the last position's logits are kept.
        model.eval([id])
    ids = []
    for _ in range(int(n)):
        logits = list(model.logits)
        ids.append(max(range(len(logits)), key=logits.__getitem__))
        model.eval(ids[-1:])
    text = model.detokenize(ids, decode=False).decode(errors="replace")
    print(json.dumps({"prompt_ids": prompt_ids, "ids": ids, "text": text}))
