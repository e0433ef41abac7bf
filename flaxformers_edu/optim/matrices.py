"""Parameters as the matrices they stand for.

A kernel may be split into heads ([D, H, K] for queries, [H, K, D] for the way back) and stacked
over scanned layers ([layers, D, H, K]). Mathematics that speaks of a layer's weight matrix - its
norm, its rows and columns, its singular values - must not depend on either.

D hidden size, H heads, K head_dim.
"""

import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from flaxformers_edu.optim.paths import map_with_names

SPLIT_OUTPUT = re.compile(r"(^|/)(query|key|value)/(kernel|bias)$")
"""Projections into heads: one axis in, the axes (heads, head_dim) out."""
SPLIT_INPUT = re.compile(r"(^|/)(out|output|output_projection)/kernel$")
"""Projections out of heads: the axes (heads, head_dim) in, one axis out."""
ATTENTION = re.compile(r"attention[^/]*/")
"""Only there do the names above mean heads: "output" elsewhere is an ordinary matrix."""


class Axes(NamedTuple):
    """How many leading axes number layers, and how many of the rest are inputs and outputs."""

    layers: int
    inputs: int
    outputs: int


def axes_of(name: str, ndim: int) -> Axes:
    """The axes of a parameter, known by its name; what its name does not explain numbers layers.

    >>> axes_of("encoder/layers/attention/query/kernel", 4)
    Axes(layers=1, inputs=1, outputs=2)
    """
    heads = bool(ATTENTION.search(name)) and ndim >= 2
    if name.endswith("kernel"):
        inputs = 2 if heads and SPLIT_INPUT.search(name) and ndim > 2 else 1
        outputs = 2 if heads and SPLIT_OUTPUT.search(name) and ndim > 2 else 1
    elif name.endswith("embedding"):
        inputs, outputs = 1, 1
    else:  # biases, scales
        inputs, outputs = 0, 2 if heads and SPLIT_OUTPUT.search(name) else 1
    outputs = min(outputs, ndim - inputs)
    return Axes(ndim - inputs - outputs, inputs, outputs)


def per_layer(function: Callable[..., Any]) -> Callable[..., Any]:
    """Lifts a function of one layer's array to trees: stacked layers are treated one by one.

    `function(array, *arrays) -> array` sees unstacked shapes; the result maps over trees.
    """

    def on_leaf(name: str, leaf: jax.Array, *rest: jax.Array) -> jax.Array:
        mapped = function
        for _ in range(axes_of(name, leaf.ndim).layers):
            mapped = jax.vmap(mapped)
        return mapped(leaf, *rest)

    return lambda tree, *rest: map_with_names(on_leaf, tree, *rest)


def as_matrices(tree: Any) -> Any:
    """Every kernel as [layers..., inputs, outputs]: the axes of heads are joined."""

    def on_leaf(name: str, leaf: jax.Array) -> jax.Array:
        layers, inputs, outputs = axes_of(name, leaf.ndim)
        if max(inputs, outputs) < 2:
            return leaf
        shape = leaf.shape[layers:]
        sides = (shape[:inputs], shape[inputs:]) if inputs else (shape,)
        return leaf.reshape(leaf.shape[:layers] + tuple(math.prod(side) for side in sides))

    return map_with_names(on_leaf, tree)
