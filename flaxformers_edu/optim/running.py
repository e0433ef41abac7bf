"""A running mean that can be part of a training state."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Int


@struct.dataclass
class RunningMean:
    """The plain mean of the first `window` values, an exponential one of decay 1 - 1/window then.

    So it needs no correction for where it began, and two of them over the same values may be
    divided: a ratio of means.
    """

    count: Int[Array, ""]
    mean: Any

    @classmethod
    def of(cls, *names: str) -> "RunningMean":
        """Of a dict of scalars with these names, before the first value."""
        return cls(jnp.zeros((), jnp.int32), {name: jnp.zeros(()) for name in names})

    def add(self, value: Any, window: int, where: Bool[Array, ""]) -> "RunningMean":
        """With one more value, a tree like the mean; unchanged unless `where`."""
        count = self.count + where
        part = 1.0 / jnp.clip(count, 1, window).astype(jnp.float32)

        def moved(old: Array, new: Array) -> Array:
            return jnp.where(where, old + part * (new - old), old)

        return RunningMean(count, jax.tree.map(moved, self.mean, value))
