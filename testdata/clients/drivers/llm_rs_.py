"""llm-rs: gives prompt_ids and text; it does not tell what ids it writes."""

import llm_rs
from serve import serve

CLASSES = {"gptj": "GptJ", "mpt": "Mpt", "gpt2": "Gpt2", "gpt_neox": "GptNeoX", "bloom": "Bloom", "llama": "Llama"}


def answer(file, arch, n_tokens, prompts):
    session = llm_rs.SessionConfig(threads=1, batch_size=1, context_length=128)
    greedy = llm_rs.GenerationConfig(top_k=1, top_p=1.0, temperature=1.0, repetition_penalty=1.0, max_new_tokens=n_tokens)
    for prompt in prompts:
        model = getattr(llm_rs, CLASSES[arch])(file, session_config=session, verbose=False)
        text = model.generate(prompt, generation_config=greedy).text
        # It puts token 1, LLaMA's for the beginning of a text, in front of any prompt to any model.
        yield {"prompt_ids": [1, *model.tokenize(prompt)], "text": text}


serve(answer)
