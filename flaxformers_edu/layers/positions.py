"""Where a token stands: sinusoidal, learned and rotary positions.

Dims: B batch, T length, D hidden size, H heads, I pairs of features, K head_dim.
"""

import dataclasses
import math
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from flaxformers_edu.errors import InputError
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
class RopeScaling:
    """How a model is stretched to a longer context (Grattafiori et al. 2024, the released code).

    Pairs of features that turn often within the old context keep their rate, those that turn less
    than once in it slow down by `factor`, and between the two the slowing grows evenly.
    """

    factor: float = 8.0
    """By how much the slowest pairs turn slower."""
    low_freq_factor: float = 1.0
    """Turns within the old context up to which a pair slows down by all of it."""
    high_freq_factor: float = 4.0
    """Turns within the old context from which a pair keeps its rate."""
    original_max_length: int = 8192
    """The old context."""

    def __post_init__(self) -> None:
        if self.factor < 1 or self.original_max_length < 1:
            raise InputError(
                f"rope_scaling has factor {self.factor} and original_max_length "
                f"{self.original_max_length}; both must be at least 1"
            )
        if not 0 < self.low_freq_factor < self.high_freq_factor:
            raise InputError(
                f"rope_scaling has low_freq_factor {self.low_freq_factor} and high_freq_factor "
                f"{self.high_freq_factor}; they must be above 0, and the second larger"
            )

    def __call__(self, rates_I: Float[Array, " I"]) -> Float[Array, " I"]:
        """The rates of the pairs, stretched."""
        turns_I = rates_I * (self.original_max_length / (2 * math.pi))
        between = self.high_freq_factor - self.low_freq_factor
        kept_I = jnp.clip((turns_I - self.low_freq_factor) / between, 0.0, 1.0)
        return rates_I * (kept_I + (1 - kept_I) / self.factor)


@dataclasses.dataclass(frozen=True)
class Rotary:
    """Rotary position embedding (Su et al. 2021): pairs of features turn by pos · θ^(-2i/K)."""

    theta: float = 10000.0
    """Base of the rates."""
    layout: Literal["halves", "interleaved"] = "halves"
    """Which features pair up: i with i + K/2 (Llama, GPT-NeoX), or 2i with 2i + 1 (the paper)."""
    scaling: RopeScaling | None = None
    """How the rates were stretched for a longer context."""

    def __call__(
        self, x_BTHK: Float[Array, "B T H K"], positions_BT: Int[Array, "#B T"] | None
    ) -> Float[Array, "B T H K"]:
        """Turns queries or keys; positions default to the index."""
        T, K = x_BTHK.shape[1], x_BTHK.shape[3]
        positions_BT = jnp.arange(T)[None] if positions_BT is None else positions_BT
        rates_I = self.theta ** (-jnp.arange(0, K, 2) / K)
        if self.scaling is not None:
            rates_I = self.scaling(rates_I)
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
