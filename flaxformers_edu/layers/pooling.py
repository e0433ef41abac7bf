"""A text as one vector, from the states of its tokens, and the classifier of such vectors.

Dims: B batch, T length, D size of a state, F size of the hidden layer, N labels.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from flaxformers_edu.layers.dropout import Dropout
from flaxformers_edu.layers.linear import Linear
from flaxformers_edu.layers.norms import LayerNorm


def concat_pooling(
    x_BTD: Float[Array, "B T D"], mask_BT: Bool[Array, "B T"] | Int[Array, "B T"]
) -> Float[Array, "B 3*D"]:
    """The last real state, the maximum and the mean of all (Howard & Ruder 2018, section 3.3).

    Rows without a real token get zeros.
    """
    real_BT1 = (mask_BT != 0)[..., None]
    some_B1 = real_BT1.any(axis=1)
    T = x_BTD.shape[1]
    last_B = jnp.max(jnp.where(mask_BT != 0, jnp.arange(T)[None], 0), axis=1)
    last_BD = jnp.take_along_axis(x_BTD, last_B[:, None, None], axis=1)[:, 0]
    max_BD = max_pooling(x_BTD, mask_BT)
    number_B1 = jnp.maximum(real_BT1.sum(axis=1), 1).astype(x_BTD.dtype)
    mean_BD = jnp.where(real_BT1, x_BTD, 0).sum(axis=1) / number_B1
    last_BD, mean_BD = (jnp.where(some_B1, part, 0) for part in (last_BD, mean_BD))
    return jnp.concatenate([last_BD, max_BD, mean_BD], axis=-1)


def max_pooling(
    x_BTD: Float[Array, "B T D"], mask_BT: Bool[Array, "B T"] | Int[Array, "B T"]
) -> Float[Array, "B D"]:
    """The greatest value of each feature at any real token; rows without one get zeros."""
    real_BT1 = (mask_BT != 0)[..., None]
    lowest = jnp.asarray(jnp.finfo(x_BTD.dtype).min, x_BTD.dtype)
    max_BD = jnp.where(real_BT1, x_BTD, lowest).max(axis=1)
    return jnp.where(real_BT1.any(axis=1), max_BD, 0)


class PooledClassifier(nn.Module):
    """norm, dropout, W, relu, norm, dropout, W': ULMFiT's head, its norms those of layers.

    Published are batch norms, whose running statistics would be a second kind of parameters that
    the data changes; and a row's answer would depend on the other rows, in batches that are small
    where labels are few. As many parameters, and one row is judged by itself.
    """

    hidden_size: int
    num_labels: int
    input_dropout_rate: float = 0.0
    dropout_rate: float = 0.0
    dtype: Any = None

    def setup(self) -> None:
        init = nn.initializers.he_normal()
        self.input_norm = LayerNorm(1e-5, self.dtype)
        self.input_dropout = Dropout(self.input_dropout_rate)
        self.dense = Linear((self.hidden_size,), ("embed",), ("features",), True, init, self.dtype)
        self.norm = LayerNorm(1e-5, self.dtype)
        self.dropout = Dropout(self.dropout_rate)
        self.out = Linear((self.num_labels,), ("embed",), ("labels",), True, init, self.dtype)

    def __call__(
        self, x_BD: Float[Array, "B D"], *, deterministic: bool = True
    ) -> Float[Array, "B N"]:
        x_BD = self.input_dropout(self.input_norm(x_BD), deterministic=deterministic)
        x_BF = jax.nn.relu(self.dense(x_BD))
        return self.out(self.dropout(self.norm(x_BF), deterministic=deterministic))
