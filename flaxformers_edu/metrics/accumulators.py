"""Sums and weights, so that a mean over batches is the mean over what was in them.

B batch, T length, V vocabulary.
"""

from collections.abc import Mapping

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


@flax.struct.dataclass
class Mean:
    """A weighted mean in the making: Σ value · weight and Σ weight, merged by addition."""

    total: jax.Array
    weight: jax.Array

    @classmethod
    def empty(cls) -> "Mean":
        """Nothing seen yet: the neutral element of `merge`."""
        return cls(jnp.zeros((), jnp.float32), jnp.zeros((), jnp.float32))

    @classmethod
    def of(
        cls, values: Float[Array, "*shape"], weights: Float[Array, "*shape"] | None = None
    ) -> "Mean":
        """Of an array's values, with weights of the same shape; without them every one counts 1.

        Where a weight is 0, the value is not looked at: it may be NaN.
        """
        values = jnp.asarray(values, jnp.float32)
        if weights is None:
            return cls(values.sum(), jnp.asarray(values.size, jnp.float32))
        weights = jnp.asarray(weights, jnp.float32)
        return cls(jnp.where(weights == 0, 0.0, values * weights).sum(), weights.sum())

    def merge(self, other: "Mean") -> "Mean":
        """Of what both have seen."""
        return Mean(self.total + other.total, self.weight + other.weight)

    def compute(self) -> Float[Array, ""]:
        """The mean; NaN where nothing was seen."""
        return self.total / self.weight


def merge(one: Mapping[str, Mean], other: Mapping[str, Mean]) -> dict[str, Mean]:
    """Merges metrics by name; a name that only one side has is kept."""
    both = {name: mean.merge(other[name]) for name, mean in one.items() if name in other}
    return {**one, **other, **both}


def perplexity(cross_entropy: Mean) -> Float[Array, ""]:
    """Exp of the mean cross-entropy (in nats) of a token."""
    return jnp.exp(cross_entropy.compute())


def token_accuracy(
    logits_BTV: Float[Array, "B T V"],
    labels_BT: Int[Array, "B T"],
    mask_BT: Float[Array, "B T"] | Bool[Array, "B T"] | Int[Array, "B T"],
) -> Mean:
    """The part of tokens whose likeliest prediction is right; mask is 0 where nothing counts."""
    right_BT = jnp.argmax(logits_BTV, axis=-1) == labels_BT
    return Mean.of(right_BT.astype(jnp.float32), mask_BT.astype(jnp.float32))
