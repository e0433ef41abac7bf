"""Sampling: tokens drawn from the filtered distribution, each hypothesis on its own.

Letters: B batch, N samples a batch row, V vocabulary.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int

from flaxformers_edu.decoding.greedy import Greedy
from flaxformers_edu.decoding.logits import Filters


@struct.dataclass
class Sampling(Greedy):
    """Draws `num_samples` sequences a batch row; the order of the samples means nothing.

    Sample n of row b draws at step t with `fold_in(fold_in(fold_in(rng, t), b), n)`: what it
    draws depends on the key, on its place and on its own logits, never on the other rows or on
    how many there are. The score of a sequence is the sum of the log-probabilities that its
    tokens were drawn with, that is after the filters.
    """

    filters: Filters = Filters()
    num_samples: int = struct.field(pytree_node=False, default=1)

    @property
    def num_hypotheses(self) -> int:
        """The samples of a batch row."""
        return self.num_samples

    def filter(self, logits_BNV: Float[Array, "B N V"]) -> Float[Array, "B N V"]:
        """Temperature, top-k, top-p, min-p."""
        return self.filters(logits_BNV)

    def choose(self, logits_BNV: Float[Array, "B N V"], key: Any) -> Int[Array, "B N"]:
        """One draw for each hypothesis."""
        B, N, _ = logits_BNV.shape
        fold_in_all = jax.vmap(jax.random.fold_in, in_axes=(None, 0))
        keys_B = fold_in_all(key, jnp.arange(B))
        keys_BN = jax.vmap(fold_in_all, in_axes=(0, None))(keys_B, jnp.arange(N))
        draw = jax.vmap(jax.vmap(jax.random.categorical))
        return draw(keys_BN, logits_BNV).astype(jnp.int32)
