"""Which weights a tree of parameters is made of: the tables, applied to a model's shapes."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax

from flaxformers_edu.errors import InputError
from flaxformers_edu.interop.family import Family, Rows
from flaxformers_edu.interop.forms import Form, Shape

LAYER = re.compile(r"(?<=/layers/)(\d+)(?=/)")
HEADS = (
    "pooler",
    "mlm_head",
    "sentence_head",
    "classifier",
    "span_head",
    "discriminator_head",
    "output",
    "mix",
    "own_words",
    "task_encoder",
)
"""What stands on a body: new where a folder lacks it."""


@dataclasses.dataclass(frozen=True)
class Match:
    """A leaf of ours, and the weights it is made of."""

    path: str
    """Of the leaf: "encoder/layers/mlp/up/kernel"."""
    names: tuple[str, ...]
    """Of the weights, without prefix: one for each layer where they are stacked, otherwise one."""
    form: Form
    """How a weight holds (its layer of) the leaf."""
    shape: Shape
    """Of (one layer of) the leaf."""
    stacked: bool
    """Whether the leaf has a leading axis of layers."""

    @property
    def is_head(self) -> bool:
        """Whether this is of a head, not of the body."""
        return self.path.split("/")[0] in HEADS


def flat_paths(tree: Any, is_leaf: Any = None) -> dict[str, Any]:
    """The leaves of nested dicts by their paths: "encoder/layers/mlp/up/kernel"."""
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=is_leaf)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def match_tree(params: Any, family: Family, task: str, *, layers_per_group: int = 1) -> list[Match]:
    """The weights of every leaf of `params` (arrays or shapes), in the tree's order.

    Raises:
        InputError: a leaf that the family's format has no place for.
    """
    places = _places(family.rows_of(task))
    matches = []
    for path, leaf in flat_paths(nn.meta.unbox(params)).items():
        number = LAYER.search(path)
        pattern = LAYER.sub("*", path)
        stacked = number is None and "/layers/" in path
        if stacked:
            pattern = path.replace("/layers/", "/layers/*/", 1)
        if pattern not in places:
            raise InputError(
                f"parameter {path} has no place in Hugging Face's {family.name} for {task}"
            )
        theirs, form = places[pattern]
        numbers = range(leaf.shape[0]) if stacked else [int(number[0]) if number else 0]
        names = tuple(_numbered(theirs, i, layers_per_group) for i in numbers)
        shape = tuple(leaf.shape[1:] if stacked else leaf.shape)
        matches.append(Match(path, names, form, shape, stacked))
    return matches


def weights_of(matches: list[Match]) -> dict[str, Shape]:
    """The weights that the matches need, with their shapes."""
    return {name: m.form.their_shape(m.shape) for m in matches for name in m.names}


def known_heads(family: Family) -> set[str]:
    """The weights of all heads that the family has in Hugging Face, in whichever task."""
    heads = {
        f"{theirs}.{their_leaf}"
        for ours, theirs, kind in family.rows
        for _, their_leaf, _ in kind
        if ours.split("/")[0] in HEADS
    }
    return heads | {other for _, other in family.ties}


def _places(rows: Rows) -> Mapping[str, tuple[str, Form]]:
    return {
        f"{ours}/{leaf}": (f"{theirs}.{their_leaf}", form)
        for ours, theirs, kind in rows
        for leaf, their_leaf, form in kind
    }


def _numbered(theirs: str, index: int, layers_per_group: int) -> str:
    """The name of a layer's weight; of two numbers the first is the group."""
    if theirs.count("*") < 2:
        return theirs.replace("*", str(index))
    group, layer = divmod(index, layers_per_group)
    return theirs.replace("*", str(group), 1).replace("*", str(layer), 1)
