"""What a student begins with: some of its teacher's layers, and all that has the same name."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from flaxformers_edu.errors import InputError
from flaxformers_edu.layers.stack import is_unrolled, stack_layers, unstack_layers

Tree = dict[str, Any]


def layers_of(params: Mapping[str, Any], layers: Sequence[int]) -> Tree:
    """An encoder's parameters with some of its layers, in this order; scanned and unrolled alike.

    Raises:
        InputError: a layer that there is not, or layers that share their parameters.
    """
    stack = params["encoder"].get("layers", {})
    if not stack or "shared" in params["encoder"]:
        raise InputError("layers that share their parameters cannot be taken one by one")
    unrolled = is_unrolled(stack)
    depth = len(stack) if unrolled else len(jax.tree.leaves(stack)[0])
    if not all(0 <= layer < depth for layer in layers):
        raise InputError(f"layers {list(layers)} are not all among 0 to {depth - 1}")
    if unrolled:
        chosen = {str(i): stack[str(layer)] for i, layer in enumerate(layers)}
    else:
        chosen = jax.tree.map(lambda p: p[jnp.array(layers)], stack)
    return {**params, "encoder": {**params["encoder"], "layers": chosen}}


def spread_layers(number: int, depth: int) -> tuple[int, ...]:
    """So many of a teacher's layers at equal distances, the first and the last among them.

    Of 12 layers 6 are those that DistilBERT's released student began from.

    >>> spread_layers(6, 12)
    (0, 2, 4, 7, 9, 11)

    Raises:
        InputError: there are not so many.
    """
    if not 1 <= number <= depth:
        raise InputError(f"a student of {number} layers cannot begin from a teacher of {depth}")
    gaps = max(number - 1, 1)
    return tuple(round(i * (depth - 1) / gaps) for i in range(number))


def begun(student: Tree, teacher: Tree, layers: Sequence[int]) -> Tree:
    """The student's parameters, with its teacher's wherever there is one of the same name.

    What the teacher has no name for (a classifier of another form) stays as it is; what only the
    teacher has (token types, a pooler) is left out.

    Raises:
        InputError: a parameter of both has another shape in each.
    """
    chosen = layers_of(teacher, layers)
    convert = unstack_layers if is_unrolled(student["encoder"]["layers"]) else stack_layers
    given = dict(jax.tree_util.tree_leaves_with_path(convert(chosen)))

    def one(path: Any, own: Array) -> Array:
        taken = given.get(path, own)
        if taken.shape != own.shape:
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            raise InputError(
                f"the student cannot begin from its teacher's {name}: its shape is "
                f"{list(own.shape)}, the teacher's {list(taken.shape)}"
            )
        return jnp.copy(taken)  # of its own: what trains may be overwritten in place

    return jax.tree_util.tree_map_with_path(one, student)
