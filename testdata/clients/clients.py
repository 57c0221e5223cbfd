#!/usr/bin/env python3
"""Do the programs of 2023 read what `gristmill convert --to ggml|ggjt|ggmm` writes, and write the same text?

    python3 clients.py --gristmill target/release/gristmill [--only WORD ...]

Converts small trained models, gives every file to an old client (see README.md), lets both it and gristmill continue
two prompts greedily, and compares. Prints a line per case and at last `N passed, N failed, N skipped`; exits 1 if any
failed. `--only` picks the cases whose line has all the words.

Environment: GRISTMILL_ORACLE, the folder with the models; GRISTMILL_CLIENTS, a folder that keeps the clients'
virtual environments between runs (else a temporary one). Without the models, or where pip cannot install a client,
its cases are skipped, loudly.
"""

import argparse
import array
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import checkpoints

HERE = pathlib.Path(__file__).parent
N_TOKENS = 16
PROMPTS = ["Alice was beginning to get very tired of", "`Well,' said the King, \"it is 42"]
# Two programs round differently, above all the activations that they quantize. So they may part where the logits of
# the two tokens are this close; the logits of these models span some ten.
NEAR_TIE = {"f32": 0.02, "f16": 0.02, "q8_0": 0.1}
NEAR_TIE_BELOW_8_BITS = 0.3

# What pip installs for each client.
CLIENTS = {
    "ctransformers": ["ctransformers==0.2.27", "huggingface-hub<1"],
    "llm_rs": ["llm-rs==0.2.15", "huggingface-hub<1"],
    "gpt4all": ["gpt4all==1.0.8", "setuptools<81"],  # It imports pkg_resources.
    "pygptj": ["pygptj==2.0.3"],
}

# The folder of each model among those of the oracle, and how many tokens its vocabulary is padded to. GPT4All tells
# GPT-J and LLaMA by the size of their vocabulary, and llm-rs has no room for tensors not divisible by 16 bytes.
MODELS = {
    "gptj": ("gptj-a/st-f32", 50400),
    "mpt": ("mpt-a/bin-sharded-f16", 576),
    "gpt2": ("gpt2-a/bin-f32", 576),
    "gpt_neox": ("neox-a/bin-f16", 576),
    "bloom": ("bloom-a/st-f32", 576),
    "llama": ("llama-mha/bin-f16", 32000),
}

FIVE = ["q4_0", "q4_1", "q5_0", "q5_1", "q8_0"]
# Client, architectures, container, version of the block layouts, types.
CASES = [
    ("ctransformers", ["gptj", "mpt", "gpt2", "gpt_neox"], "ggml", 2, ["f32", "f16", *FIVE]),
    ("ctransformers", ["llama"], "ggjt", 2, ["f32", "f16", *FIVE]),
    ("llm_rs", ["gptj", "mpt", "gpt2", "gpt_neox", "bloom"], "ggml", 2, ["f16", *FIVE]),
    ("llm_rs", ["gptj", "mpt", "gpt2", "gpt_neox", "bloom", "llama"], "ggjt", 2, ["f16", *FIVE]),
    ("gpt4all", ["gptj"], "ggml", 0, ["f32", "f16", "q4_0", "q4_1"]),
    ("gpt4all", ["mpt"], "ggmm", 0, ["f32", "f16", "q4_0", "q4_1"]),
    ("gpt4all", ["llama"], "ggjt", 2, ["f32", "f16", *FIVE]),
    ("gpt4all", ["llama"], "ggjt", 1, ["q4_0", "q5_1", "q8_0"]),
    ("gpt4all", ["llama"], "ggjt", 0, ["q4_0", "q5_1", "q8_0"]),
    ("pygptj", ["gptj"], "ggml", 0, ["f32", "f16", "q4_0", "q4_1"]),
]


class Failure(Exception):
    """A case failed; the message says why."""


def run(*command):
    """The standard output of a program, as text; a Failure with its last words when it fails."""
    try:
        done = subprocess.run([str(word) for word in command], capture_output=True, timeout=300)
    except subprocess.TimeoutExpired:
        raise Failure(f"{pathlib.Path(command[0]).name} does not end")
    if done.returncode != 0:
        words = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
        raise Failure(f"{pathlib.Path(command[0]).name} exits with {done.returncode}: {' / '.join(words)[-300:]}")
    return done.stdout.decode(errors="replace")


def install(client, folder):
    """The Python with `client`, made where it is not there yet."""
    python = folder / client / "bin" / "python"
    ready = folder / client / "ready"
    if not ready.exists():
        run(sys.executable, "-m", "venv", folder / client)
        run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *CLIENTS[client])
        ready.touch()
    return python


class Gristmill:
    def __init__(self, program, oracle, work):
        self.program, self.oracle, self.work = program, oracle, work

    def model(self, arch):
        """The folder of a padded model."""
        folder = self.work / arch
        if not folder.exists():
            source, n_vocab = MODELS[arch]
            checkpoints.pad(self.oracle / "models" / source, folder, n_vocab)
        return folder

    def convert(self, arch, container, version, outtype):
        file = self.work / "model.bin"
        to = ["--to", container, "--quant-version", version, "--outtype", outtype]
        run(self.program, "convert", self.model(arch), "-o", file, *to, "--force")
        return file

    def proceed(self, file, arch, prompt, n_tokens=N_TOKENS):
        """The greedy continuation of a prompt: {prompt_tokens, tokens, text, ...}."""
        options = ["--arch", arch.replace("_", ""), "--no-chat", "--temp", 0, "-n", n_tokens, "--json", "--quiet"]
        return json.loads(run(self.program, "run", file, "-p", prompt, *options).splitlines()[-1])

    def last_logits(self, file, arch, ids):
        out = self.work / "logits.safetensors"
        ids = ",".join(map(str, ids))
        run(self.program, "logits", file, "--arch", arch.replace("_", ""), "--tokens", ids, "-o", out, "--force")
        _, (_, n_vocab), data = checkpoints.read_safetensors(out)["logits"]
        return array.array("f", data[-4 * n_vocab :])


def compare(gristmill, file, arch, outtype, theirs, prompt):
    """Raises Failure unless a client continued `prompt` as gristmill does; says where they part at a near tie."""
    ours = gristmill.proceed(file, arch, prompt)
    prompt_ids, ids, text = ours["prompt_tokens"], ours["tokens"], ours["text"]
    if theirs.get("prompt_ids", prompt_ids) != prompt_ids:
        raise Failure(f"{prompt!r} is {theirs['prompt_ids']} to it, {prompt_ids} to gristmill")
    if theirs["text"] == text and theirs.get("ids", ids) == ids:
        return ""
    if "ids" in theirs:
        parted = next((i for i, (a, b) in enumerate(zip(ids, theirs["ids"])) if a != b), None)
        if parted is None:
            raise Failure(f"{prompt!r} goes on with {theirs['ids']} {theirs['text']!r}, here with {ids} {text!r}")
    else:
        # How many tokens they have in common is known by the text alone.
        starts = (gristmill.proceed(file, arch, prompt, n)["text"] for n in range(1, N_TOKENS + 1))
        parted = sum(theirs["text"].startswith(start) for start in starts)
        if parted == N_TOKENS:
            raise Failure(f"{prompt!r} goes on with {theirs['text']!r}, here with {text!r}")
    logits = gristmill.last_logits(file, arch, prompt_ids + ids[:parted])
    best, second = sorted(logits)[:-3:-1]
    gap = best - (logits[theirs["ids"][parted]] if "ids" in theirs else second)
    if gap > NEAR_TIE.get(outtype, NEAR_TIE_BELOW_8_BITS):
        raise Failure(f"{prompt!r} goes on with {theirs['text']!r}, here with {text!r}: {gap:.3f} apart at {parted}")
    return f" (parts after {parted} tokens at a near tie, {gap:.3f})"


def check(gristmill, python, client, arch, container, version, outtype):
    """One case: returns what is to be said about it, or raises Failure."""
    file = gristmill.convert(arch, container, version, outtype)
    lines = run(python, HERE / "drivers" / f"{client}_.py", file, arch, N_TOKENS, *PROMPTS).splitlines()
    answers = [json.loads(line) for line in lines if line.startswith("{")]
    if len(answers) != len(PROMPTS) or not all(answer["text"] for answer in answers):
        raise Failure(f"writes nothing: {' / '.join(lines[-3:])}")
    if client == "pygptj":
        return " (loads; its text is its own, see README.md)"
    notes = (compare(gristmill, file, arch, outtype, *pair) for pair in zip(answers, PROMPTS))
    return "".join(notes)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gristmill", required=True, type=pathlib.Path)
    parser.add_argument("--only", nargs="*", default=[], metavar="WORD")
    args = parser.parse_args()
    oracle = os.environ.get("GRISTMILL_ORACLE")
    if not oracle:
        print("skipped: GRISTMILL_ORACLE does not name the folder with the models")
        return 0
    passed = failed = skipped = 0
    with tempfile.TemporaryDirectory() as temporary:
        temporary = pathlib.Path(temporary)
        clients = pathlib.Path(os.environ.get("GRISTMILL_CLIENTS") or temporary / "clients")
        gristmill = Gristmill(args.gristmill.absolute(), pathlib.Path(oracle), temporary)
        pythons, missing = {}, {}
        for client, archs, container, version, outtypes in CASES:
            for arch, outtype in ((arch, outtype) for arch in archs for outtype in outtypes):
                what = f"{client} {arch} {container} version {version} {outtype}"
                if not set(args.only) <= set(what.split()):
                    continue
                if client not in pythons and client not in missing:
                    try:
                        pythons[client] = install(client, clients)
                    except Failure as why:
                        print(f"SKIPPED: {client} cannot be installed: {why}", flush=True)
                        missing[client] = why
                if client in missing:
                    skipped += 1
                    print(f"skip {what}: no {client}")
                    continue
                try:
                    note = check(gristmill, pythons[client], client, arch, container, version, outtype)
                    passed += 1
                    print(f"ok   {what}{note}", flush=True)
                except Failure as why:
                    failed += 1
                    print(f"FAIL {what}: {why}", flush=True)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
