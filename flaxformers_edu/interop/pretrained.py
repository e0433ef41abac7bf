"""`from_pretrained`: a model of ours with the weights of a Hugging Face folder."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array

from flaxformers_edu.errors import InputError, unknown_name
from flaxformers_edu.interop.belonging import tokenizer_of
from flaxformers_edu.interop.configs import config_from_hf
from flaxformers_edu.interop.conventions import convention_of
from flaxformers_edu.interop.family import Family
from flaxformers_edu.interop.generation import generation_settings, read_generation
from flaxformers_edu.interop.hdf5 import OPTIONS, options_in
from flaxformers_edu.interop.matching import (
    Match,
    flat_paths,
    known_heads,
    match_tree,
    weights_of,
)
from flaxformers_edu.interop.names import is_of_body, plain_names
from flaxformers_edu.interop.placing import place_leaf
from flaxformers_edu.interop.weights import read_json, read_weights
from flaxformers_edu.sharding import parameter_shardings
from flaxformers_edu.text.characters import CharacterTokenizer
from flaxformers_edu.text.tokenizer import WORDS_FILE, Tokenizer

CONFIG = "config.json"


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """A model, what it knows, and how texts are read for it."""

    model: nn.Module
    """The module of the task."""
    params: Any
    """Its parameters, in float32."""
    tokenizer: Tokenizer | None
    """The folder's, None where it has none."""
    config: Any
    """Of the model; `model.config`."""
    task: str = "base"
    """What the model was built for."""
    initialised: tuple[str, ...] = ()
    """Modules that the folder has no weights for: they begin from random numbers."""
    unused: tuple[str, ...] = ()
    """Weights of the folder that the task has no use for: other heads."""
    original: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """config.json as it was read; what ours do not know is written back from here."""
    original_generation: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """generation_config.json as it was read, if there was one; it is written back."""
    stored_dtype: str = "float32"
    """Of the folder's weights; such that still fit are written in it again."""

    @property
    def generation(self) -> dict[str, Any]:
        """What the folder would have `ff.generate` do: `ff.generate(..., **found.generation)`.

        From generation_config.json, in older folders from config.json. All tokens that end a text
        are here, `config.eos_token_id` is the first of them.
        """
        return generation_settings(self.original_generation or self.original)


def from_pretrained(
    folder: str | Path,
    task: str = "base",
    *,
    mesh: Mesh | None = None,
    dtype: str | None = None,
    **changes: Any,
) -> Pretrained:
    """The model in a folder that Hugging Face's transformers, or `save_pretrained`, has written.

    Or in one of ELMo, with options.json and weights.hdf5 (or NAME_options.json, NAME_weights.hdf5).

    Weights are read from memory maps, one leaf at a time, and with a `mesh` straight into their
    shards. The body must be there; heads that the folder has no weights for begin from random
    numbers, the same each time, and are named in `initialised`.

    Args:
        folder: with config.json and weights (see `read_weights`); the tokeniser may be lacking.
        task: "base", "masked_lm", "sequence_classification" ..., or "causal_lm".
        mesh: where the parameters go; None: to the default device.
        dtype: of the computation, "float32" by default; parameters are float32 anyway.
        **changes: fields of our config, in place of the folder's: `layout="unrolled"`, or
            `num_labels=5`; with another number of labels the classifier is a new one.

    Raises:
        InputError: what is there is damaged, of an unknown architecture, not all that the model
            needs, more than it knows, of other shapes, or not of one model.
    """
    folder = Path(folder)
    hf, own, tokenizer = _description(folder, task)
    family = convention_of(hf).family
    config = _changed(own, changes if dtype is None else changes | {"dtype": dtype})
    model = config.build(task)
    boxed = jax.eval_shape(lambda: model.init(jax.random.key(0), **model.dummy_inputs())["params"])
    matches = match_tree(
        boxed, family, task, layers_per_group=getattr(config, "inner_group_num", 1)
    )
    tied = getattr(config, "tie_embeddings", True)
    tensors = plain_names(read_weights(folder), family, task, tied=tied)
    unused = _check_unexpected(tensors, matches, family, folder)
    same_labels = getattr(config, "num_labels", 0) == getattr(own, "num_labels", 0)
    if not same_labels or not _has_head_of(task, hf, family):
        classifier = {n for m in matches if m.path.startswith("classifier/") for n in m.names}
        unused += tuple(sorted(classifier & tensors.keys()))
        tensors = {name: t for name, t in tensors.items() if name not in classifier}
    absent = _check_missing(tensors, matches, folder)
    said_in = OPTIONS if hf["model_type"] == "elmo" else CONFIG
    _check_shapes(tensors, matches, folder, said_in)

    shardings = flat_paths(parameter_shardings(boxed, mesh)) if mesh is not None else {}
    leaves = _new_leaves(model, absent, shardings)
    for match in matches:
        if match.path not in leaves:
            leaves[match.path] = place_leaf(match, tensors, shardings.get(match.path))
    params = jax.tree.map(leaves.get, _tree_of_paths(boxed))
    return Pretrained(
        model=model,
        params=params,
        tokenizer=tokenizer,
        config=config,
        task=task,
        initialised=tuple(dict.fromkeys(m.path.rsplit("/", 1)[0] for m in absent)),
        unused=unused,
        original=hf,
        original_generation=read_generation(folder),
        stored_dtype=_dtype_of(tensors),
    )


def pretrained_config(folder: str | Path, task: str = "base") -> Any:
    """The config of the model that `from_pretrained` would read; no weights are read.

    Raises:
        InputError: as `from_pretrained` does, for what config.json and the tokeniser say.
    """
    return _description(Path(folder), task)[1]


def _description(folder: Path, task: str) -> tuple[dict[str, Any], Any, Tokenizer | None]:
    """config.json, ours, with the ids that only the tokeniser knows, and the tokeniser."""
    if not folder.is_dir():
        raise InputError(f"folder {folder} does not exist")
    if (options := options_in(folder)) is not None:
        return _description_of_elmo(folder, options, task)
    hf = read_json(folder / CONFIG)
    config = config_from_hf(hf, task)
    tokenizer = tokenizer_of(folder, hf, config)
    return hf, _with_tokens(config, tokenizer), tokenizer


def _description_of_elmo(
    folder: Path, options: Path, task: str
) -> tuple[dict[str, Any], Any, Tokenizer]:
    """The same of ELMo's options, whose tokeniser needs no file; it may have a vocabulary."""
    hf = {"model_type": "elmo", **read_json(options)}
    words = folder / WORDS_FILE
    tokenizer = CharacterTokenizer.from_file(words) if words.is_file() else CharacterTokenizer()
    if tokenizer.knows_words:
        hf = {"n_tokens_vocab": tokenizer.vocab_size, **hf}
    config = config_from_hf({**hf, "eos_token_id": tokenizer.eos_token_id}, task)
    return hf, config, tokenizer


def _with_tokens(config: Any, tokenizer: Tokenizer | None) -> Any:
    """The config with the ids that only the tokeniser knows."""
    if tokenizer is None or not hasattr(config, "mask_token_id"):
        return config
    found = {"eos_token_id": tokenizer.sep_token_id, "mask_token_id": tokenizer.mask_token_id}
    return dataclasses.replace(config, **{k: v for k, v in found.items() if v is not None})


def _changed(config: Any, changes: Mapping[str, Any]) -> Any:
    known = {field.name for field in dataclasses.fields(config)}
    for name in changes:
        if name not in known:
            raise unknown_name(f"field of {type(config).__name__}", name, known)
    return dataclasses.replace(config, **changes)


def _has_head_of(task: str, hf: Mapping[str, Any], family: Family) -> bool:
    """Whether a folder's classifier is one of this task: several tasks call theirs alike."""
    architectures = hf.get("architectures") or [family.classes[task]]
    return family.classes[task] in architectures


def _check_unexpected(
    tensors: Mapping[str, Any], matches: list[Match], family: Family, folder: Path
) -> tuple[str, ...]:
    """Weights that are left over: heads may be; weights of the body make it another model."""
    wanted = weights_of(matches)
    left = [name for name in tensors if name not in wanted]
    heads = known_heads(family)
    foreign = [
        name
        for name in left
        if name not in heads and (is_of_body(name, family) or name.startswith(family.prefixes))
    ]
    if foreign:
        raise InputError(
            f"{folder} has weights that a {family.name} of this config does not: {_some(foreign)}"
        )
    return tuple(left)


def _check_missing(tensors: Mapping[str, Any], matches: list[Match], folder: Path) -> list[Match]:
    """The leaves of heads that the folder lacks altogether; anything else must be there."""
    absent = [m for m in matches if not any(name in tensors for name in m.names)]
    lost = [name for m in matches for name in m.names if name not in tensors]
    modules_found = {m.path.split("/")[0] for m in matches if m not in absent}
    new = [m for m in absent if m.is_head and m.path.split("/")[0] not in modules_found]
    lost = [name for name in lost if not any(name in m.names for m in new)]
    if lost:
        raise InputError(f"{folder} lacks weights that the model needs: {_some(lost)}")
    return new


def _check_shapes(
    tensors: Mapping[str, np.ndarray], matches: list[Match], folder: Path, said_in: str
) -> None:
    wrong = [
        f"{name} has the shape {list(tensors[name].shape)}, {said_in} asks for {list(shape)}"
        for name, shape in weights_of(matches).items()
        if name in tensors and tuple(tensors[name].shape) != shape
    ]
    if wrong:
        raise InputError(f"in {folder} {_some(wrong, '; ')}")
    odd = [n for n, t in tensors.items() if n in weights_of(matches) and not _is_float(t.dtype)]
    if odd:
        raise InputError(f"in {folder} these weights are not floating point: {_some(odd)}")


def _some(names: list[str], separator: str = ", ") -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return separator.join(names[:3]) + more


def _new_leaves(model: nn.Module, absent: list[Match], shardings: Mapping[str, Any]) -> dict:
    """The parameters that no file has, from the module's own initialisers."""
    paths = [match.path for match in absent]
    if not paths:
        return {}

    def init() -> dict[str, Array]:
        inputs = model.dummy_inputs()
        variables = nn.meta.unbox(model.init(jax.random.key(0), **inputs))
        found = flat_paths(variables["params"])
        return {path: found[path] for path in paths}

    places = {path: shardings[path] for path in paths} if shardings else None
    return dict(jax.jit(init, out_shardings=places)())


def _tree_of_paths(boxed: Any) -> Any:
    """A tree like the parameters', of each leaf's path."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: jax.tree_util.keystr(path, simple=True, separator="/"),
        nn.meta.unbox(boxed),
    )


def _is_float(dtype: np.dtype) -> bool:
    return bool(jax.numpy.issubdtype(dtype, jax.numpy.floating))


def _dtype_of(tensors: Mapping[str, np.ndarray]) -> str:
    found = {tensor.dtype.name for tensor in tensors.values() if _is_float(tensor.dtype)}
    return found.pop() if len(found) == 1 else "float32"
