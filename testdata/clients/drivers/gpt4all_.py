"""gpt4all: gives prompt_ids, ids and text. It finds the architecture itself."""

import sys

from gpt4all.pyllmodel import LLModel
from serve import serve


def answer(file, arch, n_tokens, prompts):
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
        model.prompt_model(prompt, write, n_predict=n_tokens, n_batch=1, **greedy)
        yield {"prompt_ids": prompt_ids, "ids": ids, "text": "".join(texts)}


serve(answer)
