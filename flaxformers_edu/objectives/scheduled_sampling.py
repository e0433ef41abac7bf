"""Translation with scheduled sampling: a decoder that learns to go on from its own words.

Under teacher forcing a decoder never sees its own mistakes. Here it reads, at each place by itself,
the right word with a probability ε that falls as training goes on, and otherwise a word drawn from
its own predictions (Bengio et al. 2015, "Scheduled Sampling for Sequence Prediction with Recurrent
Neural Networks", section 2.4 and figure 2).

Dims: B rows.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from flaxformers_edu.errors import InputError, unknown_name
from flaxformers_edu.objectives.losses import Loss
from flaxformers_edu.objectives.translation import Translation

Decay = Literal["linear", "exponential", "inverse_sigmoid"]
PROBABILITY = "sampling_probability"
"""What a batch calls, and a model takes as, the probability of reading its own words."""


@dataclasses.dataclass(frozen=True)
class ScheduledSampling(Translation):
    """`Translation` for a model that can read its own words; evaluated as that is."""

    decay: Decay = "inverse_sigmoid"
    """Of ε after i updates: linear, k - slope · i; exponential, k^i; inverse_sigmoid,
    k / (k + e^(i/k)), which is a half at i = k ln k."""
    k: float = 400.0
    """linear: ε at the beginning, at most 1; exponential: below 1; inverse_sigmoid: at least 1."""
    slope: float = 0.0
    """linear: what ε loses with each update."""
    least: float = 0.0
    """ε never falls below it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.decay not in get_args(Decay):
            raise unknown_name("objective.decay", self.decay, get_args(Decay))
        allowed = {
            "linear": (0 < self.k <= 1, "above 0 and at most 1"),
            "exponential": (0 < self.k < 1, "between 0 and 1"),
            "inverse_sigmoid": (self.k >= 1, "at least 1"),
        }
        good, rule = allowed[self.decay]
        if not good:
            raise InputError(f"objective.k is {self.k}; for decay {self.decay!r} it must be {rule}")
        if self.slope < 0 or (self.slope and self.decay != "linear"):
            raise InputError(
                f"objective.slope is {self.slope}; it must be 0 or more, and is for decay 'linear'"
            )
        if not 0 <= self.least <= 1:
            raise InputError(f"objective.least is {self.least}; it must be from 0 to 1")

    def teaching(self, updates: jax.typing.ArrayLike) -> Float[Array, "..."]:
        """ε, the probability of the right word after so many updates."""
        i = jnp.asarray(updates, jnp.float32)
        if self.decay == "linear":
            right = self.k - self.slope * i
        elif self.decay == "exponential":
            right = jnp.exp(i * math.log(self.k))
        else:  # k / (k + e^(i/k)), which would overflow
            right = jax.nn.sigmoid(math.log(self.k) - i / self.k)
        return jnp.maximum(right, self.least)

    def scheduled(self, batch: Mapping[str, Array], updates: Array) -> dict[str, Array]:
        """The batch with the probability, for each row, of reading an own word."""
        rows = batch["labels"].shape[0]
        return {**batch, PROBABILITY: jnp.full(rows, 1 - self.teaching(updates))}

    def loss(
        self, model: nn.Module, params: Any, batch: Mapping[str, Array], dropout_key: Array | None
    ) -> Loss:
        """As for `Translation`; with a key and a probability, of a decoder that reads own words.

        Raises:
            InputError: a model whose places do not wait for one another, such as a Transformer.
        """
        if PROBABILITY in batch and not getattr(model, "reads_its_own_words", False):
            raise InputError(
                f"objective ScheduledSampling needs a recurrent decoder, and a "
                f"{type(model).__name__} reads all words at once: use Translation"
            )
        return super().loss(model, params, batch, dropout_key)
