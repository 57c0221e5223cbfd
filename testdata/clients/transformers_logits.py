"""Do folders that gristmill wrote mean to Transformers what they should?

    python transformers_logits.py FOLDER LOGITS.safetensors ID,ID,...

Loads FOLDER with AutoModelForCausalLM (and pytorch_model.bin, if that is what it has, with weights_only=True), feeds
the token ids and compares the logits with tensor `logits` of the second file, which `gristmill logits` wrote. Prints
the largest difference and the greedy tokens of every position; exits 1 when the difference exceeds 1e-3 of the
largest logit. Needs the packages torch, transformers and safetensors.
"""

import json
import pathlib
import sys

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

folder, logits, ids = pathlib.Path(sys.argv[1]), sys.argv[2], [int(id) for id in sys.argv[3].split(",")]

for file in folder.glob("pytorch_model*.bin"):
    torch.load(file, weights_only=True)

model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
tokenizer = AutoTokenizer.from_pretrained(folder)
with torch.no_grad():
    theirs = model(torch.tensor([ids])).logits[0]
ours = load_file(logits)["logits"]
difference = (theirs - ours).abs().max().item()
largest = theirs.abs().max().item()
print(json.dumps({
    "max_difference": difference,
    "largest_logit": largest,
    "greedy": theirs.argmax(-1).tolist(),
    "text": tokenizer.decode(ids),
}))
sys.exit(difference > 1e-3 * largest)
