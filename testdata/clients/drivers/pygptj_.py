"""pygptj: FILE ARCH N PROMPT... -> one JSON object a line: {text}."""

import json
import sys

from pygptj.model import Model

file, _, n, *prompts = sys.argv[1:]
for prompt in prompts:
    model = Model(model_path=file)
    text = "".join(model.generate(prompt, n_predict=int(n), top_k=1, top_p=1.0, temp=1.0, n_threads=1, seed=1))
    print(json.dumps({"text": text}))
