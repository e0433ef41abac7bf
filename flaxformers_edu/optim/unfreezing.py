"""Gradual unfreezing: what is near the output learns first (Howard & Ruder 2018, section 3.3).

Which parameters move is decided inside the compiled step, by the number of updates made: one
program, whatever moves. By depth (see `depth`) the head begins, and every so many updates one layer
more follows, from the last to the embeddings; by path, parameters begin at an update that is given.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from flaxformers_edu.errors import InputError
from flaxformers_edu.optim.depth import depths, number_of_layers
from flaxformers_edu.optim.paths import match_paths


class UnfreezingState(NamedTuple):
    """That of the optimiser within, and the updates made."""

    updates: jax.Array
    inner: Any


def starts(
    params: Any, *, every: int = 0, at: Sequence[tuple[str, int]] = (), head: Sequence[str] = ()
) -> Any:
    """The update, from 0, at which each parameter begins to move.

    Args:
        params: nested dicts of arrays or shapes.
        every: updates after which the next group moves, too: the head from 0, the last layer from
            `every`, and so on down to the embeddings; 0: all from the beginning.
        at: (pattern, update) for parameters by name; of several that match, the last.
        head: patterns of what counts as the head, whatever its depth.

    Returns:
        A tree of arrays of int32 that broadcast with `params`, layers stacked or apart.

    Raises:
        InputError: a pattern covers no parameter, or there are no layers to unfreeze.
    """
    layers = number_of_layers(params)
    if every and not layers:
        raise InputError(
            f"optimizer.unfreeze_every is {every}, and the model has no layers to unfreeze: leave "
            "it at 0, or name parameters in optimizer.unfreeze_at"
        )
    found = jax.tree.map(
        lambda depth: np.asarray((layers + 1 - depth) * every, np.int32), depths(params, head)
    )
    for pattern, update in at:
        matching = match_paths(params, [pattern])
        found = jax.tree.map(
            lambda old, named, update=update: np.full_like(old, update) if named else old,
            found,
            matching,
        )
    return found


def unfreezing(
    inner: optax.GradientTransformation, first: Any, clip_norm: float = 0.0
) -> optax.GradientTransformation:
    """An optimiser whose updates are nothing before `first`, as `starts` gives it.

    Moments are kept from the beginning: what begins to move does so at the pace of all others. The
    norm that is clipped is that of the parameters that move; 0: none is.
    """

    def init(params: Any) -> UnfreezingState:
        return UnfreezingState(jnp.zeros((), jnp.int32), inner.init(params))

    def update(grads: Any, state: Any, params: Any = None) -> tuple[Any, UnfreezingState]:
        def moving(tree: Any) -> Any:
            return jax.tree.map(
                lambda x, start: jnp.where(state.updates >= start, x, jnp.zeros_like(x)),
                tree,
                first,
            )

        if clip_norm:
            norm = optax.tree.norm(moving(grads))
            factor = jnp.minimum(1.0, clip_norm / jnp.maximum(norm, 1e-30))
            grads = jax.tree.map(lambda g: g * factor.astype(g.dtype), grads)
        updates, after = inner.update(grads, state.inner, params)
        return moving(updates), UnfreezingState(state.updates + 1, after)

    return optax.GradientTransformation(init, update)
