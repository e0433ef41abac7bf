"""Stacked layers in groups, for a loop whose layers differ in turn.

Dims: L layers.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp


def evenly_in_turn(in_turn: Sequence[Any], num_layers: int) -> Sequence[Any]:
    """So many that they go into the layers without rest: all layers, where the given do not."""
    if num_layers % len(in_turn) == 0:
        return in_turn
    return [in_turn[i % len(in_turn)] for i in range(num_layers)]


def in_groups(tree: Any, size: int) -> Any:
    """Stacked layers, as stacked groups of `size` layers each."""
    if size == 1:
        return tree
    return jax.tree.map(lambda p: p.reshape(p.shape[0] // size, size, *p.shape[1:]), tree)


def out_of_groups(tree: Any, size: int) -> Any:
    """The inverse of `in_groups`."""
    if size == 1:
        return tree
    return jax.tree.map(lambda p: p.reshape(p.shape[0] * size, *p.shape[2:]), tree)


def layers_of_group(tree: Any, size: int) -> list[Any]:
    """One group's layers, each by itself."""
    if size == 1:
        return [tree]
    leaves, structure = jax.tree.flatten(tree)
    # The gradient of a split is a concatenation, that of indexing a sum of arrays full of zeros.
    parts = [jax.lax.split(leaf, (1,) * size) for leaf in leaves]
    return [
        jax.tree.unflatten(structure, [part[i].squeeze(0) for part in parts]) for i in range(size)
    ]


def group_of_layers(layers: Sequence[Any]) -> Any:
    """The inverse of `layers_of_group`."""
    if len(layers) == 1:
        return layers[0]
    return jax.tree.map(lambda *values: jnp.stack(values), *layers)
