"""ctransformers: gives prompt_ids, ids and text."""

from ctransformers import LLM, Config
from serve import serve


def answer(file, arch, n_tokens, prompts):
    model = LLM(file, arch, config=Config(context_length=128, threads=1, batch_size=1))
    for prompt in prompts:
        model.reset()
        prompt_ids = model.tokenize(prompt)
        for id in prompt_ids:  # One by one, since only the last position's logits are kept.
            model.eval([id])
        ids = []
        for _ in range(n_tokens):
            logits = list(model.logits)
            ids.append(max(range(len(logits)), key=logits.__getitem__))
            model.eval(ids[-1:])
        text = model.detokenize(ids, decode=False).decode(errors="replace")
        yield {"prompt_ids": prompt_ids, "ids": ids, "text": text}


serve(answer)
