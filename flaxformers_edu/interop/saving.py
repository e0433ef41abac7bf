"""`save_pretrained`: a folder that Hugging Face's transformers loads."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import ml_dtypes  # noqa: F401  (numpy knows "bfloat16" by it)
import numpy as np
from safetensors.numpy import save_file

from flaxformers_edu.errors import InputError
from flaxformers_edu.interop.belonging import check_belongs
from flaxformers_edu.interop.configs import config_to_hf, said_already
from flaxformers_edu.interop.conventions import convention_for
from flaxformers_edu.interop.elmo import options_of, read_options
from flaxformers_edu.interop.generation import GENERATION
from flaxformers_edu.interop.hdf5 import OPTIONS, write_hdf5
from flaxformers_edu.interop.matching import Match, flat_paths, match_tree, weights_of
from flaxformers_edu.interop.names import saved_name
from flaxformers_edu.interop.pretrained import CONFIG, Pretrained
from flaxformers_edu.interop.weights import SAFETENSORS
from flaxformers_edu.models.elmo import ElmoConfig


def save_pretrained(folder: str | Path, pretrained: Pretrained) -> None:
    """Write config.json, model.safetensors and the tokeniser's files, under Hugging Face's names.

    Of an ELMo, options.json and weights.hdf5 under those of the released models.

    The parameters may be scanned or unrolled. Weights that were loaded and not trained come out
    with the bytes that they had. Everything is written beside the folder first, which then appears
    in one step: none is left half-written.

    Raises:
        InputError: a folder that is not empty, parameters that are not the model's, a model that
            Hugging Face has no class for, or a tokeniser of another one.
    """
    folder = Path(folder).absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists and is not empty; give a new folder")
    is_elmo = isinstance(pretrained.config, ElmoConfig)
    config = _options_of(pretrained) if is_elmo else _config_of(pretrained)
    weights = _weights_of(pretrained)
    if pretrained.tokenizer is not None:
        check_belongs(pretrained.tokenizer, pretrained.config, hf=config)
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = folder.with_name(f".{folder.name}-{os.getpid()}")
    try:
        beside.mkdir()
        described = {OPTIONS if is_elmo else CONFIG: config}
        if pretrained.original_generation:
            described[GENERATION] = dict(pretrained.original_generation)
        for name, content in described.items():
            text = json.dumps(content, indent=2) + "\n"
            (beside / name).write_text(text, encoding="utf-8")
        if is_elmo:
            write_hdf5(beside, weights)
        else:
            save_file(weights, beside / SAFETENSORS, metadata={"format": "pt"})
        if pretrained.tokenizer is not None:
            pretrained.tokenizer.save(beside)
        os.replace(beside, folder)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise


def _config_of(pretrained: Pretrained) -> dict[str, Any]:
    """config.json: as it was read, where it does not say otherwise of the model."""
    config = config_to_hf(pretrained.config, pretrained.task)
    original = dict(pretrained.original)
    if "model_type" in original:  # a run gives the names of its labels alone
        said, renamed = said_already(original, pretrained.config, pretrained.task)
        original = {key: v for key, v in original.items() if key in said or key not in renamed}
        config = {key: v for key, v in config.items() if key not in said}
    if len(original.get("id2label") or ()) == len(config.get("id2label") or ()):
        config = {key: v for key, v in config.items() if key not in ("id2label", "label2id")}
    original.pop("torch_dtype", None)
    return original | config | {"dtype": pretrained.stored_dtype}


def _options_of(pretrained: Pretrained) -> dict[str, Any]:
    """options.json: as it was read, where it does not say otherwise of the model."""
    original = {k: v for k, v in pretrained.original.items() if k != "model_type"}
    said = options_of(pretrained.config, pretrained.task)
    if "lstm" in original and read_options(original) == read_options(said):
        return original
    kept = {name: v for name, v in original.items() if isinstance(v, dict) and name in said}
    return {**original, **said, **{name: {**v, **said[name]} for name, v in kept.items()}}


def _weights_of(pretrained: Pretrained) -> dict[str, np.ndarray]:
    config, task, model = pretrained.config, pretrained.task, pretrained.model
    family = convention_for(config).family
    tied = getattr(config, "tie_embeddings", True)
    layers_per_group = getattr(config, "inner_group_num", 1)

    def match(params: Any) -> list[Match]:
        return match_tree(params, family, task, layers_per_group=layers_per_group)

    inputs = model.dummy_inputs()
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), **inputs)["params"])
    params = nn.meta.unbox(pretrained.params)
    matches = match(params)
    _check_same(weights_of(matches), weights_of(match(shapes)))

    leaves = flat_paths(params)
    parts: dict[str, list[tuple[int, Match, np.ndarray]]] = {}
    for m in matches:
        leaf = np.asarray(leaves[m.path])
        for name, part in zip(m.names, leaf if m.stacked else [leaf], strict=True):
            parts.setdefault(name, []).append((m.form.part[0], m, part))
    weights = {}
    for name, found in parts.items():
        ordered = [part for _, _, part in sorted(found, key=lambda entry: entry[0])]
        tensor = found[0][1].form.to_theirs(ordered)
        weights[saved_name(name, family, task, tied=tied)] = _stored(
            tensor, pretrained.stored_dtype
        )
    return weights


def _check_same(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raises InputError where parameters are not those of the model."""
    for name in sorted(found.keys() | wanted.keys()):
        if found.get(name) != wanted.get(name):
            shapes = [str(list(s[name])) if name in s else "none" for s in (found, wanted)]
            raise InputError(
                f"the parameters are not the model's: {name} has the shape {shapes[0]}, and the "
                f"model's {shapes[1]}"
            )


def _stored(tensor: np.ndarray, dtype: str) -> np.ndarray:
    """In the dtype that the weights came in if nothing is lost by it, otherwise in its own."""
    stored: np.ndarray = tensor.astype(dtype)
    same = np.array_equal(stored.astype(tensor.dtype), tensor)
    return np.ascontiguousarray(stored if same else tensor)
