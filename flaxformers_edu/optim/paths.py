"""Parameters by name: one way of choosing some of them, for decay, freezing or learning rates."""

import difflib
import re
from collections.abc import Callable, Sequence
from typing import Any

import jax

from flaxformers_edu.errors import InputError


def map_with_names(function: Callable[..., Any], tree: Any, *rest: Any) -> Any:
    """`jax.tree.map` with the name of each leaf, such as "encoder/layers/mlp/up/kernel".

    Args:
        function: called as `function(name, leaf, *leaves_of_rest)`.
        tree: nested dicts, of arrays or of anything else.
        *rest: trees of the same structure.
    """
    return jax.tree_util.tree_map_with_path(
        lambda path, *leaves: function(
            jax.tree_util.keystr(path, simple=True, separator="/"), *leaves
        ),
        tree,
        *rest,
    )


def match_paths(params: Any, patterns: Sequence[str]) -> Any:
    """True for parameters whose name holds a match of at least one pattern.

    Args:
        params: nested dicts of parameters; only their names matter.
        patterns: regular expressions, searched for in names such as "encoder/layers/mlp/up/kernel".

    Returns:
        A tree of bools of the structure of `params`.

    Raises:
        InputError: a pattern is malformed or covers no parameter: it has a typing error, most
            likely, and would have been without effect in silence.
    """
    compiled = []
    names = [
        jax.tree_util.keystr(path, simple=True, separator="/")
        for path, _ in jax.tree_util.tree_leaves_with_path(params)
    ]
    for pattern in patterns:
        try:
            regex = re.compile(pattern)
        except re.error as error:
            raise InputError(f"pattern {pattern!r} is no regular expression: {error}") from error
        if not any(regex.search(name) for name in names):
            nearest = difflib.get_close_matches(pattern, names, n=1, cutoff=0.0)
            hint = f"; the nearest of {len(names)} names is {nearest[0]!r}" if nearest else ""
            raise InputError(f"pattern {pattern!r} covers no parameter{hint}")
        compiled.append(regex)
    return map_with_names(lambda name, _: any(r.search(name) for r in compiled), params)
