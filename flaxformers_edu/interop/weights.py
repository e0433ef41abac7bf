"""Weights of a folder by the names that PyTorch gives them, read when they are looked at.

Four layouts are read: model.safetensors, its parts by model.safetensors.index.json, the
flax_model.msgpack of transformers' former Flax classes, and ELMo's hdf5. Pickles never are.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.serialization
import ml_dtypes
import numpy as np
from msgpack.exceptions import UnpackException
from safetensors import SafetensorError, safe_open

from flaxformers_edu.errors import InputError
from flaxformers_edu.interop.hdf5 import is_elmo, read_hdf5

SAFETENSORS = "model.safetensors"
INDEX = "model.safetensors.index.json"
MSGPACK = "flax_model.msgpack"
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json", "model.pt", "tf_model.h5")

DTYPES = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I64": np.dtype(np.int64),
    "I32": np.dtype(np.int32),
    "I16": np.dtype(np.int16),
    "I8": np.dtype(np.int8),
    "U8": np.dtype(np.uint8),
    "BOOL": np.dtype(np.bool_),
}


def read_weights(folder: str | Path) -> dict[str, np.ndarray]:
    """Every weight in the folder, by its name there; from safetensors as views of memory maps.

    Raises:
        InputError: no such folder, no weights in it, only pickled ones, or a damaged file.
    """
    folder = Path(folder)
    if (folder / SAFETENSORS).is_file():
        return _map_safetensors(folder / SAFETENSORS)
    if (folder / INDEX).is_file():
        return _map_parts(folder / INDEX)
    if (folder / MSGPACK).is_file():
        return _read_msgpack(folder / MSGPACK)
    if not folder.is_dir():
        raise InputError(f"folder {folder} does not exist")
    if is_elmo(folder):
        return read_hdf5(folder)
    pickled = [name for name in PICKLES if (folder / name).is_file()]
    if pickled:
        raise InputError(
            f"{folder} has its weights only in {pickled[0]}, which can run code when it is opened "
            "and is not read here; convert it where you trust it: in transformers, "
            "AutoModel.from_pretrained(folder).save_pretrained(new_folder) writes model.safetensors"
        )
    raise InputError(f"no weights in {folder}: expected {SAFETENSORS}, {INDEX} or {MSGPACK}")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        InputError: no such file, or no JSON object in it.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"no {path.name} in {path.parent}") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} holds a {type(found).__name__}; it must be a JSON object")
    return found


def _map_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Views of the file, which begins with the length of a JSON header (8 bytes) and the header."""
    try:
        with safe_open(path, framework="np"):  # checks header, offsets and length of the file
            pass
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is truncated or no safetensors file: {error}") from error
    raw = np.memmap(path, mode="r", dtype=np.uint8)
    start = 8 + int.from_bytes(raw[:8].tobytes(), "little")
    header = json.loads(raw[8:start].tobytes())
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        if entry["dtype"] not in DTYPES:
            raise InputError(
                f"{name} in {path} is stored as {entry['dtype']}; only {', '.join(DTYPES)} are read"
            )
        begin, end = entry["data_offsets"]
        dtype = DTYPES[entry["dtype"]]
        tensors[name] = raw[start + begin : start + end].view(dtype).reshape(entry["shape"])
    return tensors


def _map_parts(index: Path) -> dict[str, np.ndarray]:
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise InputError(f"{index} has no weight_map")
    parts = {}
    for file in sorted(set(places.values())):
        path = index.parent / file
        if path.parent != index.parent or not path.is_file():
            raise InputError(f"{index.name} names {file}, which is not in {index.parent}")
        parts[file] = _map_safetensors(path)
    lost = [name for name, file in places.items() if name not in parts[file]]
    if lost:
        raise InputError(f"{lost[0]} is not in {places[lost[0]]}, where {index.name} places it")
    return {name: parts[file][name] for name, file in places.items()}


def _read_msgpack(path: Path) -> dict[str, np.ndarray]:
    """Weights under PyTorch's names: there the dots were slashes, and kernels are transposed."""
    try:
        tree = flax.serialization.msgpack_restore(path.read_bytes())
    except (UnpackException, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is truncated or no msgpack of weights: {error}") from error
    if not isinstance(tree, Mapping):
        raise InputError(f"{path} holds no tree of weights")
    tensors = {}
    for parts, value in _leaves(tree):
        *module, leaf = parts
        # Kernels were the transposes of PyTorch's weights, those of GPT-2's Conv1D as well.
        name = ".".join([*module, _TORCH_LEAVES.get(leaf, leaf)])
        tensors[name] = value.T if leaf == "kernel" else value
    return tensors


_TORCH_LEAVES = {"kernel": "weight", "scale": "weight", "embedding": "weight"}


def _leaves(tree: Mapping, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], np.ndarray]]:
    found = []
    for name, value in tree.items():
        here = (*path, str(name))
        if isinstance(value, Mapping):
            found.extend(_leaves(value, here))
        else:
            found.append((here, np.asarray(value)))
    return found
