"""A word's vector from its characters (Kim et al. 2016), as ELMo has it (Peters et al. 2018,
section 3.2): convolutions over the characters, their greatest values, highway layers, projection.

Dims: N words, C characters of a word, E size of a character's embedding, W width of a filter,
F filters, P size of a word's vector.
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from flaxformers_edu.layers.linear import Initializer, Linear, partitioned_param
from flaxformers_edu.layers.mlp import activation

CLOSED = -2.0
"""The bias that gates of highway layers begin with: most of the input goes through unchanged."""


class Highway(nn.Module):
    """g · relu(x W + b) + (1 - g) · x, where g = σ(x W' + b') (Srivastava et al. 2015).

    The gate is named `carry`, as in the released weights, though it opens for what is new.
    """

    kernel_init: Initializer
    dtype: Any = None

    @nn.compact
    def __call__(self, x_NF: Float[Array, "N F"]) -> Float[Array, "N F"]:
        size = x_NF.shape[-1:]

        def linear(name: str, use_bias: bool) -> Linear:
            settings = (use_bias, self.kernel_init, self.dtype)
            return Linear(size, ("embed",), ("mlp",), *settings, name=name)

        closed = nn.initializers.constant(CLOSED)
        bias_F = partitioned_param(self, "carry_bias", closed, ("mlp",), size)
        gate_NF = linear("carry", False)(x_NF)
        gate_NF = nn.sigmoid(gate_NF + bias_F[None].astype(gate_NF.dtype))
        return gate_NF * nn.relu(linear("transform", True)(x_NF)) + (1 - gate_NF) * x_NF


class Convolution(nn.Module):
    """The greatest value that each filter of one width has at any place within the word.

    Only whole windows count (no padding), so a word must have at least W characters, padding
    included: ids of padding are characters like the others.
    """

    width: int
    filters: int
    activation: str = "relu"
    kernel_init: Initializer = nn.initializers.uniform(0.1)
    dtype: Any = None

    @nn.compact
    def __call__(self, x_NCE: Float[Array, "N C E"]) -> Float[Array, "N F"]:
        shape, axes = (self.width, x_NCE.shape[-1], self.filters), ("positions", "features")
        kernel_WEF = partitioned_param(self, "kernel", self.kernel_init, (*axes, "features"), shape)
        bias_F = partitioned_param(
            self, "bias", nn.initializers.zeros, ("features",), (self.filters,)
        )
        x_NCE, kernel_WEF, bias_F = nn.dtypes.promote_dtype(
            x_NCE, kernel_WEF, bias_F, dtype=self.dtype
        )
        y_NCF = jax.lax.conv_general_dilated(
            x_NCE, kernel_WEF, (1,), "VALID", dimension_numbers=("NWC", "WIO", "NWC")
        )
        # Bias and activation rise with what they are given: they may follow the maximum.
        return activation(self.activation)(y_NCF.max(axis=1) + bias_F[None])


class CharacterCNN(nn.Module):
    """Words as rows of character ids to words as vectors.

    `filters` are (width, number) of each convolution. Character 0 is the mask, whose row of the
    table begins with zeros: words of masks alone are padding, and nobody reads their vectors.
    """

    num_characters: int
    character_size: int
    filters: Sequence[tuple[int, int]]
    num_highway: int
    output_size: int
    activation: str = "relu"
    dtype: Any = None

    @nn.compact
    def __call__(self, ids: Int[Array, "*shape C"]) -> Float[Array, "*shape P"]:
        table_VE = partitioned_param(
            self,
            "embedding",
            _table_init,
            ("positions", "features"),
            (self.num_characters, self.character_size),
        )
        *shape, C = ids.shape
        x_NCE = jnp.take(table_VE, jnp.asarray(ids).reshape(-1, C), axis=0)
        parts = [
            Convolution(
                width,
                number,
                self.activation,
                self._conv_init(width),
                self.dtype,
                name=f"convolution_{i}",
            )(x_NCE)
            for i, (width, number) in enumerate(self.filters)
        ]
        x_NF = jnp.concatenate(parts, axis=-1)
        init = nn.initializers.normal(x_NF.shape[-1] ** -0.5)
        for i in range(self.num_highway):
            x_NF = Highway(init, self.dtype, name=f"highway_{i}")(x_NF)
        projection = Linear(
            (self.output_size,), ("mlp",), ("embed",), True, init, self.dtype, name="projection"
        )
        return projection(x_NF).reshape(*shape, self.output_size)

    def _conv_init(self, width: int) -> Initializer:
        """As the released training code begins: uniform for relu, by the fan-in for tanh."""
        if self.activation == "tanh":
            return nn.initializers.normal((width * self.character_size) ** -0.5)
        return _uniform(0.05)


def _uniform(bound: float) -> Initializer:
    """Uniform within ±bound."""

    def init(key: Array, shape: Sequence[int], dtype: Any = jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def _table_init(key: Array, shape: Sequence[int], dtype: Any = jnp.float32) -> Array:
    """Uniform within ±1, the mask's row zero."""
    return _uniform(1.0)(key, shape, dtype).at[0].set(0)
