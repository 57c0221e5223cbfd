"""Reads small checkpoint folders without the packages they are made for, and writes them with a larger vocabulary."""

import collections
import json
import math
import pickle
import shutil
import struct
import zipfile

SIZES = {"F32": 4, "F16": 2, "BOOL": 1}
WEIGHTS = (".safetensors", ".bin")


def read_safetensors(path):
    """The tensors of a file, as name -> (dtype, shape, bytes)."""
    data = path.read_bytes()
    start = 8 + struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    bounds = lambda entry: slice(start + entry["data_offsets"][0], start + entry["data_offsets"][1])
    return {name: (entry["dtype"], entry["shape"], data[bounds(entry)]) for name, entry in header.items()}


def write_safetensors(path, tensors):
    header, at = {}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    head = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(head)) + head + b"".join(data for _, _, data in tensors.values()))


class StateDict(pickle.Unpickler):
    """The pickle of a `pytorch_model.bin` of contiguous tensors; it can make nothing else."""

    KNOWN = {
        "collections.OrderedDict": collections.OrderedDict,
        "torch.FloatStorage": "F32",
        "torch.HalfStorage": "F16",
        "torch.BoolStorage": "BOOL",
    }

    def __init__(self, archive):
        self.archive = archive
        self.folder = next(name for name in archive.namelist() if name.endswith("/data.pkl"))[: -len("data.pkl")]
        super().__init__(archive.open(self.folder + "data.pkl"))

    def find_class(self, module, name):
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self.tensor
        return self.KNOWN[f"{module}.{name}"]

    def persistent_load(self, entry):
        _, dtype, key, *_ = entry
        return dtype, self.archive.read(f"{self.folder}data/{key}")

    @staticmethod
    def tensor(storage, offset, shape, stride, *_):
        assert list(stride) == [math.prod(shape[axis + 1 :]) for axis in range(len(shape))], "not contiguous"
        dtype, data = storage
        size = SIZES[dtype]
        return dtype, list(shape), data[size * offset : size * (offset + math.prod(shape))]


def read(folder):
    """All tensors of a checkpoint folder."""
    tensors = {}
    for path in sorted(folder.glob("model*.safetensors")) or sorted(folder.glob("pytorch_model*.bin")):
        if path.suffix == ".safetensors":
            tensors |= read_safetensors(path)
        else:
            with zipfile.ZipFile(path) as archive:
                tensors |= StateDict(archive).load()
    return tensors


def deepen(tensors, config, n_layers):
    """Adds layers that change nothing: copies of the first, whose projections back to the residual are zeros."""
    for name, (dtype, shape, data) in list(tensors.items()):
        if ".layers.0." in name:
            adds = name.endswith(("o_proj.weight", "down_proj.weight"))
            for layer in range(config["num_hidden_layers"], n_layers):
                copy = bytes(len(data)) if adds else data
                tensors[name.replace(".layers.0.", f".layers.{layer}.")] = dtype, shape, copy
    config["num_hidden_layers"] = n_layers


def pad(tensors, config, n_vocab):
    """Adds tokens that do not exist. Their rows are zeros and so are their logits (or far below, with a bias), less
    than the best of a trained model: none is ever written."""
    for name, (dtype, shape, data) in tensors.items():
        if shape and shape[0] == config["vocab_size"]:
            value = struct.pack({"F32": "<f", "F16": "<e"}[dtype], -100.0 if len(shape) == 1 else 0.0)
            data += value * ((n_vocab - shape[0]) * math.prod(shape[1:]))
            tensors[name] = dtype, [n_vocab, *shape[1:]], data
    config["vocab_size"] = n_vocab


def enlarge(source, target, n_vocab, n_layers=None):
    """Writes the checkpoint `source` to `target`, padded to a vocabulary and, if it is LLaMA's, to a depth."""
    target.mkdir()
    for path in source.glob("*.*"):
        if path.is_file() and path.suffix not in WEIGHTS and not path.name.endswith(".index.json"):
            shutil.copy(path, target)
    config = json.loads((source / "config.json").read_text())
    tensors = read(source)
    pad(tensors, config, n_vocab)
    if n_layers:
        deepen(tensors, config, n_layers)
    write_safetensors(target / "model.safetensors", tensors)
    (target / "config.json").write_text(json.dumps(config))
