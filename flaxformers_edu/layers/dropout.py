"""Dropout with half the random bits."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray


def dropout(
    x: Float[Array, "*shape"],
    rate: float,
    key: PRNGKeyArray | None,
    shared_axes: Sequence[int] = (),
) -> Float[Array, "*shape"]:
    """Zeroes each element with probability `rate` and divides the rest by 1 - rate.

    Elements along `shared_axes` share their lot: the steps of a sequence (variational, "locked"
    dropout, Gal & Ghahramani 2016), or the features of a word (Merity et al. 2017, section 4.3).

    Drawing random bits is a visible part of a small model's step, so each element draws 16 of them,
    two from every 32-bit word: the probability of dropping is `rate` rounded to 1/65536.
    No key means no dropout.
    """
    if rate == 0.0 or key is None:
        return x
    threshold = round(rate * 65536)
    if threshold >= 65536:
        return jnp.zeros_like(x)
    *leading, width = (1 if axis in shared_axes else n for axis, n in enumerate(x.shape))
    words = jax.random.bits(key, (*leading, -(-width // 2)), jnp.uint32)
    halves = jax.lax.bitcast_convert_type(words, jnp.uint16).reshape(*leading, -1)[..., :width]
    keep = halves >= jnp.uint16(threshold)
    return jnp.where(keep, x / jnp.asarray(1 - rate, x.dtype), jnp.zeros((), x.dtype))


class Dropout(nn.Module):
    """`dropout` as a module: draws its key from the "dropout" stream when not deterministic."""

    rate: float
    shared_axes: tuple[int, ...] = ()

    @nn.compact
    def __call__(self, x: Array, *, deterministic: bool) -> Array:
        if deterministic or self.rate == 0.0:
            return x
        return dropout(x, self.rate, self.make_rng("dropout"), self.shared_axes)
