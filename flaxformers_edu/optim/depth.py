"""How deep in the model a parameter lies, and learning rates that fall with the depth.

What a body learnt in pre-training is the more general the nearer it is to the input, and is changed
the less: each layer learns at a fraction of the rate of the one above it (Howard & Ruder 2018,
section 3.2; ELECTRA's fine-tuning, Clark et al. 2020, appendix B).

Layers may lie apart (`encoder/layers/3/...`) or stacked along a leading axis (`encoder/layers/...`,
scanned): a parameter's depth is then a vector along that axis.
"""

import re
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from flaxformers_edu.optim.paths import map_with_names, match_paths

LAYER = re.compile(r"(^|/)(layers/|(layers_|encoder/)(?=\d))((?P<index>\d+)/)?")
"""A layer of a stack, layers/3/, layers_3/ or encoder/3/; without an index, all of them."""
SHARED = re.compile(r"(^|/)shared/")
"""What all layers of a stack have in common."""
EMBEDDINGS = re.compile(
    r"(^|/)(source_)?(embeddings?|embedding_projection|token_embedder|positions|token_types)/"
)
TASK = re.compile(r"^task_encoder/")
"""Layers that only a task has, on top of a body."""


def number_of_layers(params: Any) -> int:
    """Layers of the deepest stack that has parameters of its own for each; 1 for shared ones."""
    numbers = [0]

    def look(name: str, leaf: Any) -> None:
        if TASK.search(name):
            return
        if layer := LAYER.search(name):
            numbers.append(leaf.shape[0] if layer["index"] is None else int(layer["index"]) + 1)
        elif SHARED.search(name):
            numbers.append(1)

    map_with_names(look, params)
    return max(numbers)


def depths(params: Any, head: Sequence[str] = ()) -> Any:
    """The depth of each parameter, from the input: a tree of arrays that broadcast with `params`.

    Embeddings lie at 0, layer i of n at i + 1, parameters that layers share at n, and all else
    (pooler, last norm, heads and their layers) at n + 1. Of several stacks each counts its own
    layers.

    Args:
        params: nested dicts of arrays or shapes, under the names that this library's models give.
        head: patterns of what counts as the head wherever it lies, such as a table of tokens that
            is the output layer of a language model, too.

    Returns:
        Arrays of int32: [] or, of stacked layers, [n, 1, ...] of the rank of the parameter.

    Raises:
        InputError: a pattern covers no parameter.
    """
    top = number_of_layers(params) + 1

    def depth(name: str, leaf: Any, is_head: bool) -> np.ndarray:
        if is_head or TASK.search(name):
            return np.asarray(top, np.int32)
        if layer := LAYER.search(name):
            if layer["index"] is not None:
                return np.asarray(int(layer["index"]) + 1, np.int32)
            number, *rest = leaf.shape
            return np.arange(1, number + 1, dtype=np.int32).reshape(number, *[1 for _ in rest])
        if SHARED.search(name):
            return np.asarray(top - 1, np.int32)
        return np.asarray(0 if EMBEDDINGS.search(name) else top, np.int32)

    return map_with_names(depth, params, match_paths(params, head))


def layer_factors(
    params: Any, decay: float, *, above_layers: int = 2, head: Sequence[str] = ()
) -> Any:
    """decay^(distance from the top) for each parameter, in the shapes of `depths`.

    The top, where the factor is 1, lies `above_layers` steps above the last layer. With 2 these are
    ELECTRA's rates: decay^(n + 2 - depth), embeddings decay^(n + 2), the last of n layers decay^2
    (google-research/electra, model/optimization.py). With 1 every group learns by `decay` slower
    than the next, as in ULMFiT.
    """
    layers = number_of_layers(params)

    def factor(depth: np.ndarray) -> np.ndarray:
        distance = np.where(depth > layers, 0, layers + above_layers - depth)
        return np.asarray(decay**distance, np.float32)

    return jax.tree.map(factor, depths(params, head))


def scale_by_depth(
    params: Any, decay: float, *, above_layers: int = 2, head: Sequence[str] = ()
) -> optax.GradientTransformation:
    """Updates times the `layer_factors` of the same arguments."""
    factors = layer_factors(params, decay, above_layers=above_layers, head=head)

    def scale(updates: Any, _: Any) -> Any:
        return jax.tree.map(
            lambda update, factor: update * jnp.asarray(factor, update.dtype), updates, factors
        )

    return optax.stateless(scale)
