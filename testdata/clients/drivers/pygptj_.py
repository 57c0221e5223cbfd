"""pygptj: gives text."""

from pygptj.model import Model
from serve import serve


def answer(file, arch, n_tokens, prompts):
    for prompt in prompts:
        model = Model(model_path=file)
        text = "".join(model.generate(prompt, n_predict=n_tokens, top_k=1, top_p=1.0, temp=1.0, n_threads=1, seed=1))
        yield {"text": text}


serve(answer)
