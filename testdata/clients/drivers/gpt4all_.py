"""gpt4all: FILE ARCH N PROMPT... -> one JSON object a line: {prompt_ids, ids, text}. It finds the architecture itself."""

import json
import sys

from gpt4all.pyllmodel import LLModel

file, _, n, *prompts = sys.argv[1:]
for prompt in prompts:
    model = LLModel()
    if not model.load_model(file):
        sys.exit("cannot load the file")
    model.set_thread_count(1)
    prompt_ids, ids, texts = [], [], []

    def read(id):
        prompt_ids.append(id)
        return True

    def write(id, text):
        ids.append(id)
        texts.append(text)
        return True

    model._prompt_callback = read
    greedy = {"top_k": 1, "top_p": 1.0, "temp": 1e-4, "repeat_penalty": 1.0}
    model.prompt_model(prompt, write, n_predict=int(n), n_batch=1, **greedy)
    print(json.dumps({"prompt_ids": prompt_ids, "ids": ids, "text": "".join(texts)}))
