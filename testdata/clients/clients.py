#!/usr/bin/env python3
"""Do the programs of 2023 read what `gristmill convert --to ggml|ggjt|ggmm` writes, and write the same text?

    python3 clients.py --gristmill target/release/gristmill [--only WORD ...]

Converts small trained models, gives every file to an old client (see README.md), lets both it and gristmill continue
two prompts greedily, and compares. Prints a line per case and at last `N passed, N failed, N skipped`; exits 1 if any
failed. `--only` picks the cases whose line has all the words; those that have not begun after `--minutes` are skipped.

Environment: GRISTMILL_ORACLE, the folder with the models; GRISTMILL_CLIENTS, a folder that keeps the clients'
virtual environments between runs (else a temporary one). Without the models, or where pip cannot install a client,
its cases are skipped, loudly.
"""

import argparse
import array
import contextlib
import itertools
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

import checkpoints

HERE = pathlib.Path(__file__).parent
N_TOKENS = 16
PROMPTS = ["Alice was beginning to get very tired of", "`Well,' said the King, \"it is 42"]
# Two programs round differently, above all the activations that they quantize. So they may part where the logits of
# the two tokens are this close; the logits of these models span some ten.
NEAR_TIE = {"f32": 0.02, "f16": 0.02, "q8_0": 0.1}
NEAR_TIE_BELOW_8_BITS = 0.3
# What GPT4All computes with LLaMA depends on how the prompt is cut into batches, by more than rounding explains. The
# small LLaMA is seldom sure of a token, so all clients get prompts that it is sure about for some tokens.
N_CLEAR_TOKENS = 8
CLEAR_PROMPTS = ["e Number One,'", "`No, no!' said"]

# What pip installs for each client.
CLIENTS = {
    "ctransformers": ["ctransformers==0.2.27", "huggingface-hub<1"],
    "llm_rs": ["llm-rs==0.2.15", "huggingface-hub<1"],
    "gpt4all": ["gpt4all==1.0.8", "setuptools<81"],  # It imports pkg_resources.
    "pygptj": ["pygptj==2.0.3"],
}

# Of each model: the architecture, the folder (among those of the oracle, if relative), how many tokens its vocabulary
# is padded to, how many layers it is padded to. GPT4All tells GPT-J and LLaMA by the size of their vocabulary, and its
# older libraries know LLaMA by published numbers of layers; llm-rs has no room for tensors not divisible by 16 bytes.
MODELS = {
    "gptj": ("gptj", "gptj-a/st-f32", 50400, None),
    "tale": ("gptj", HERE.parent / "tale-gptj-4m", 2112, None),
    "mpt": ("mpt", "mpt-a/bin-sharded-f16", 576, None),
    "gpt2": ("gpt2", "gpt2-a/bin-f32", 576, None),
    "gpt_neox": ("gpt_neox", "neox-a/bin-f16", 576, None),
    "bloom": ("bloom", "bloom-a/st-f32", 576, None),
    "llama": ("llama", "llama-mha/bin-f16", 32000, None),
    "llama-deep": ("llama", "llama-mha/bin-f16", 32000, 32),
}

FLOATS = ["f32", "f16"]
FIVE = ["q4_0", "q4_1", "q5_0", "q5_1", "q8_0"]
# llm-rs wants rows of a multiple of 64 for types of 4 bits, which only some of the models have.
THREE = ["q5_0", "q5_1", "q8_0"]
# Client, models, container, version of the block layouts, types.
CASES = [
    ("ctransformers", ["gptj", "tale", "mpt", "gpt2", "gpt_neox"], "ggml", 2, FLOATS + FIVE),
    ("ctransformers", ["llama"], "ggjt", 2, FLOATS + FIVE),
    ("llm_rs", ["tale", "mpt", "bloom"], "ggml", 2, ["f16", *FIVE]),
    ("llm_rs", ["tale", "mpt", "bloom"], "ggjt", 2, ["f16", *FIVE]),
    ("llm_rs", ["gptj", "gpt2", "gpt_neox"], "ggml", 2, ["f16", *THREE]),
    ("llm_rs", ["gptj", "gpt2", "gpt_neox", "llama"], "ggjt", 2, ["f16", *THREE]),
    ("gpt4all", ["gptj"], "ggml", 0, [*FLOATS, "q4_0", "q4_1"]),
    ("gpt4all", ["mpt"], "ggmm", 0, [*FLOATS, "q4_0", "q4_1"]),
    ("gpt4all", ["llama"], "ggjt", 2, FLOATS + FIVE),
    ("gpt4all", ["llama-deep"], "ggjt", 1, FIVE),
    ("gpt4all", ["llama-deep"], "ggjt", 0, FIVE),
    ("pygptj", ["gptj"], "ggml", 0, [*FLOATS, "q4_0", "q4_1"]),
]
# Who cuts text into other tokens than the model was trained with, whatever the file. gristmill then goes on from theirs.
CUTS_ITS_OWN_WAY = {("gpt4all", "gptj"), ("gpt4all", "mpt"), ("llm_rs", "llama")}


class Failure(Exception):
    """A case failed; the message says why."""


# Seconds after which a program counts as hanging.
PATIENCE = 1200


def last_words(text):
    return " / ".join(text.strip().splitlines())[-300:]


def run(*command):
    """The standard output of a program, as text; a Failure with its last words when it fails."""
    try:
        done = subprocess.run([str(word) for word in command], capture_output=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        raise Failure(f"{pathlib.Path(command[0]).name} does not end")
    if done.returncode != 0:
        words = last_words((done.stderr or done.stdout).decode(errors="replace"))
        raise Failure(f"{pathlib.Path(command[0]).name} exits with {done.returncode}: {words}")
    return done.stdout.decode(errors="replace")


def install(client, folder):
    """The Python with `client`, made where it is not there yet."""
    python = folder / client / "bin" / "python"
    # What is installed there, for it may have been another version that was asked for.
    ready, wanted = folder / client / "ready", " ".join(CLIENTS[client])
    if not ready.exists() or ready.read_text() != wanted:
        run(sys.executable, "-m", "venv", "--clear", folder / client)
        run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *CLIENTS[client])
        ready.write_text(wanted)
    return python


class Client:
    """An old client. Loading it takes longer than most cases, so it stays until it fails."""

    def __init__(self, name, python):
        self.name, self.command, self.process = name, [python, HERE / "drivers" / f"{name}_.py"], None

    def ask(self, **request):
        """Its answer, a dict for each prompt; a Failure with its last words when it ends instead."""
        if self.process is None:
            self.errors = tempfile.TemporaryFile("w+", errors="replace")
            pipe = subprocess.PIPE
            self.process = subprocess.Popen(self.command, stdin=pipe, stdout=pipe, stderr=self.errors, text=True)
        hung = threading.Event()
        watch = threading.Timer(PATIENCE, lambda: (hung.set(), self.process.kill()))
        watch.start()
        try:
            print(json.dumps(request), file=self.process.stdin, flush=True)
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        finally:
            watch.cancel()
        if answer:
            return json.loads(answer)
        code = self.close()
        if hung.is_set():
            raise Failure(f"{self.name} does not end")
        self.errors.seek(0)
        raise Failure(f"{self.name} exits with {code}: {last_words(self.errors.read())}")

    def close(self):
        """Ends it, and gives its exit code."""
        if self.process is None:
            return 0
        process, self.process = self.process, None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        process.stdout.close()
        return process.wait()


class Gristmill:
    def __init__(self, program, oracle, work):
        self.program, self.oracle, self.work = program, oracle, work
        self.file = work / "model.bin"

    def convert(self, model, container, version, outtype):
        """Makes `self.file`."""
        self.arch, source, n_vocab, n_layers = MODELS[model]
        folder = self.work / model
        if not folder.exists():
            checkpoints.enlarge(self.oracle / "models" / source, folder, n_vocab, n_layers)
        to = ["--to", container, "--quant-version", version, "--outtype", outtype]
        run(self.program, "convert", folder, "-o", self.file, *to, "--force")

    def use(self, command, *options):
        """Runs a command on the file."""
        return run(self.program, command, self.file, "--arch", self.arch.replace("_", ""), *options)

    def task(self):
        """How many tokens to write, and behind which prompts."""
        return (N_CLEAR_TOKENS, CLEAR_PROMPTS) if self.arch == "llama" else (N_TOKENS, PROMPTS)

    def proceed(self, *prompt, n_tokens=None):
        """The greedy continuation of a prompt: {prompt_tokens, tokens, text, ...}."""
        n_tokens = n_tokens or self.task()[0]
        options = ["--no-chat", "--temp", 0, "-n", n_tokens, "--json", "--quiet"]
        return json.loads(self.use("run", *prompt, *options).splitlines()[-1])

    def logits_after(self, ids):
        out = self.work / "logits.safetensors"
        self.use("logits", "--tokens", comma(ids), "-o", out, "--force")
        _, (_, n_vocab), data = checkpoints.read_safetensors(out)["logits"]
        return array.array("f", data[-4 * n_vocab :])


def comma(ids):
    return ",".join(map(str, ids))


def compare(gristmill, client, outtype, prompt, theirs):
    """Raises Failure unless a client continued `prompt` as gristmill does; says where they part at a near tie."""
    note = ""
    n_tokens, _ = gristmill.task()
    from_text = ours = gristmill.proceed("-p", prompt)
    prompt_ids = theirs["prompt_ids"]
    if prompt_ids != from_text["prompt_tokens"]:
        # One more token in front is the client's own.
        if prompt_ids[1:] != from_text["prompt_tokens"]:
            if (client, gristmill.arch) not in CUTS_ITS_OWN_WAY:
                raise Failure(f"{prompt!r} is {prompt_ids} to it, {from_text['prompt_tokens']} to gristmill")
            note = "; cuts text its own way"
        ours = gristmill.proceed("--tokens", comma(prompt_ids))
    ids, text = ours["tokens"], ours["text"]
    if theirs["text"] == text and theirs.get("ids", ids) == ids:
        return note
    apart = f"{prompt!r} goes on with {theirs['text']!r}, here with {text!r}"
    if "ids" in theirs:
        parted = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(ids, theirs["ids"])))
    else:
        # How many tokens they have in common is known by the text alone.
        lengths = range(1, n_tokens + 1)
        starts = (gristmill.proceed("--tokens", comma(prompt_ids), n_tokens=n)["text"] for n in lengths)
        parted = sum(theirs["text"].startswith(start) for start in starts)
    if parted >= min(n_tokens, len(theirs.get("ids", ids))):
        raise Failure(apart)
    logits = gristmill.logits_after(prompt_ids + ids[:parted])
    best, second = sorted(logits)[:-3:-1]
    gap = best - (logits[theirs["ids"][parted]] if "ids" in theirs else second)
    if gap > NEAR_TIE.get(outtype, NEAR_TIE_BELOW_8_BITS):
        raise Failure(f"{apart}: {gap:.3f} apart after {parted}")
    return f"{note}; parts after {parted} at a near tie, {gap:.3f}"


def check(gristmill, client, model, container, version, outtype):
    """One case: returns what is to be said about it, or raises Failure."""
    gristmill.convert(model, container, version, outtype)
    # LLaMA's texts begin with a space that no one sees. The libraries leave it to their callers.
    space = " " if gristmill.arch == "llama" else ""
    n_tokens, prompts = gristmill.task()
    spaced = [space + prompt for prompt in prompts]
    answers = client.ask(file=str(gristmill.file), arch=gristmill.arch, n_tokens=n_tokens, prompts=spaced)
    if not all(answer["text"] for answer in answers):
        raise Failure("writes nothing")
    if client.name == "pygptj":
        return "; only loads, see README.md"
    return "".join(compare(gristmill, client.name, outtype, *pair) for pair in zip(prompts, answers))


def cases():
    """(client, model, container, version, type) of each. One type of everything comes first, then the next, so that
    every client reads something even where the time is short."""
    of_each = [
        (number, (client, model, container, version, outtype))
        for client, models, container, version, outtypes in CASES
        for model in models
        for number, outtype in enumerate(outtypes)
    ]
    return [case for _, case in sorted(of_each, key=lambda pair: pair[0])]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gristmill", required=True, type=pathlib.Path)
    parser.add_argument("--only", nargs="*", default=[], metavar="WORD")
    parser.add_argument("--minutes", type=float, default=math.inf, help="skip what has not begun by then")
    args = parser.parse_args()
    oracle = os.environ.get("GRISTMILL_ORACLE")
    if not oracle:
        print("skipped: GRISTMILL_ORACLE does not name the folder with the models")
        return 0
    end = time.monotonic() + 60 * args.minutes
    passed = failed = skipped = late = 0
    with tempfile.TemporaryDirectory() as temporary:
        temporary = pathlib.Path(temporary)
        clients = pathlib.Path(os.environ.get("GRISTMILL_CLIENTS") or temporary / "clients")
        gristmill = Gristmill(args.gristmill.absolute(), pathlib.Path(oracle), temporary)
        ready, missing = {}, {}
        for client, *case in cases():
            model, container, version, outtype = case
            what = f"{client} {model} {container} version {version} {outtype}"
            if not set(args.only) <= set(what.split()):
                continue
            if time.monotonic() > end:
                skipped, late = skipped + 1, late + 1
                print(f"skip {what}: {args.minutes:g} minutes are over", flush=True)
                continue
            if client not in ready and client not in missing:
                try:
                    ready[client] = Client(client, install(client, clients))
                except Failure as why:
                    print(f"SKIPPED: {client} cannot be installed: {why}", flush=True)
                    missing[client] = why
            if client in missing:
                skipped += 1
                print(f"skip {what}: no {client}")
                continue
            try:
                note = check(gristmill, ready[client], *case)
                passed += 1
                print(f"ok   {what}{note}", flush=True)
            except Failure as why:
                failed += 1
                print(f"FAIL {what}: {why}", flush=True)
        for client in ready.values():
            client.close()
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    if late:
        print(f"SKIPPED: {late} cases of old clients: {args.minutes:g} minutes were over", file=sys.stderr)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
