"""Where a token stands: sinusoidal, learned and rotary positions.

Dims: B batch, T length, D hidden size, H heads, K head_dim.
"""

import dataclasses
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from flaxformers_edu.layers.linear import Initializer, partitioned_param
from flaxformers_edu.sharding import shard


def sinusoidal(
    positions_BT: Int[Array, "*B T"],
    hidden_size: int,
    layout: Literal["interleaved", "halves"] = "interleaved",
) -> Float[Array, "*B T D"]:
    """PE(pos, 2i) = sin(pos / 10000^(2i/D)), PE(pos, 2i+1) = cos(same) (Vaswani 2017, sec. 3.5).

    `layout` "halves" puts all sines before all cosines (tensor2tensor, Marian): the same features
    in another order.
    """
    rates_I = 10000.0 ** (-jnp.arange(0, hidden_size, 2) / hidden_size)
    angles_BTI = positions_BT[..., None] * rates_I.reshape((1,) * positions_BT.ndim + (-1,))
    sines, cosines = jnp.sin(angles_BTI), jnp.cos(angles_BTI)
    if layout == "halves":
        return jnp.concatenate([sines, cosines], axis=-1)[..., :hidden_size]
    pairs = jnp.stack([sines, cosines], axis=-1)
    return pairs.reshape(*positions_BT.shape, -1)[..., :hidden_size]


class LearnedPositions(nn.Module):
    """A table of one vector a position, after `offset` rows (2 in BART, pad + 1 in RoBERTa)."""

    max_positions: int
    hidden_size: int
    offset: int = 0
    embedding_init: Initializer = nn.initializers.normal(0.02)
    dtype: Any = None

    @nn.compact
    def __call__(self, positions_BT: Int[Array, "*B T"]) -> Float[Array, "*B T D"]:
        shape = (self.max_positions + self.offset, self.hidden_size)
        axes = ("positions", "embed")
        table = partitioned_param(self, "embedding", self.embedding_init, axes, shape)
        table = shard(table, axes)  # whole columns, as in TokenEmbedding
        return jnp.take(table, positions_BT + self.offset, axis=0).astype(self.dtype or table.dtype)


@dataclasses.dataclass(frozen=True)
class Rotary:
    """Rotary position embedding (Su et al. 2021): pairs of features turn by pos · θ^(-2i/K)."""

    theta: float = 10000.0
    """Base of the rates."""
    layout: Literal["halves", "interleaved"] = "halves"
    """Which features pair up: i with i + K/2 (Llama, GPT-NeoX), or 2i with 2i + 1 (the paper)."""

    def __call__(
        self, x_BTHK: Float[Array, "B T H K"], positions_BT: Int[Array, "#B T"] | None
    ) -> Float[Array, "B T H K"]:
        """Turns queries or keys; positions default to the index."""
        T, K = x_BTHK.shape[1], x_BTHK.shape[3]
        positions_BT = jnp.arange(T)[None] if positions_BT is None else positions_BT
        rates_I = self.theta ** (-jnp.arange(0, K, 2) / K)
        angles_BT1I = positions_BT[:, :, None, None] * rates_I[None, None, None]
        sin, cos = jnp.sin(angles_BT1I), jnp.cos(angles_BT1I)
        x = x_BTHK.astype(jnp.float32)
        if self.layout == "halves":
            a, b = jnp.split(x, 2, axis=-1)
            turned = jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)
        else:
            a, b = x[..., 0::2], x[..., 1::2]
            turned = jnp.stack([a * cos - b * sin, b * cos + a * sin], axis=-1).reshape(x.shape)
        return turned.astype(x_BTHK.dtype)
