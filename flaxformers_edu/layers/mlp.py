"""The position-wise feed-forward network (Vaswani et al. 2017, eq. 2; gated: Shazeer 2020).

Dims: B batch, T length, D hidden size, F intermediate size.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from flaxformers_edu.errors import unknown_name
from flaxformers_edu.layers.dropout import Dropout
from flaxformers_edu.layers.linear import Initializer, Linear, xavier
from flaxformers_edu.sharding import shard


def gelu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """GELU(x) = x Φ(x), Φ the normal distribution's (Hendrycks & Gimpel 2016), by erf.

    `jax.nn.gelu` has erfc for Φ, right to the last digit of the left tail, and on a CPU at twice
    the price. In half precision 1 + erf would round that tail away.
    """
    if jnp.finfo(x.dtype).bits < 32:
        return jax.nn.gelu(x, approximate=False)
    return 0.5 * x * (1 + jax.lax.erf(x * math.sqrt(0.5)))


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "gelu": gelu,
    "gelu_tanh": partial(jax.nn.gelu, approximate=True),  # Hugging Face's gelu_new
    "quick_gelu": lambda x: x * jax.nn.sigmoid(1.702 * x),
    "silu": jax.nn.silu,
    "tanh": jnp.tanh,
}


def activation(name: str) -> Callable[[Array], Array]:
    """The activation of that name.

    Raises:
        InputError: an unknown name, with the nearest valid one.
    """
    if name not in ACTIVATIONS:
        raise unknown_name("activation", name, ACTIVATIONS)
    return ACTIVATIONS[name]


class FeedForward(nn.Module):
    """FFN(x) = act(x W_up) W_down, or gated: (act(x W_gate) · x W_up) W_down.

    `output_init` is W_down's own initialiser, where it is not `kernel_init`.
    """

    hidden_size: int
    intermediate_size: int
    activation: str = "relu"
    gated: bool = False
    use_bias: bool = True
    dropout_rate: float = 0.0
    kernel_init: Initializer = xavier
    output_init: Initializer | None = None
    dtype: Any = None

    @nn.compact
    def __call__(
        self, x_BTD: Float[Array, "B T D"], *, deterministic: bool = True
    ) -> Float[Array, "B T D"]:
        act = activation(self.activation)

        def linear(width: int, inputs: str, outputs: str, name: str) -> Linear:
            output_init = self.output_init if name == "down" else None
            settings = (self.use_bias, output_init or self.kernel_init, self.dtype)
            return Linear((width,), (inputs,), (outputs,), *settings, name=name)

        h_BTF = linear(self.intermediate_size, "embed", "mlp", "up")(x_BTD)
        if self.gated:
            h_BTF = act(linear(self.intermediate_size, "embed", "mlp", "gate")(x_BTD)) * h_BTF
        else:
            h_BTF = act(h_BTF)
        h_BTF = shard(h_BTF, ("batch", "length", "mlp"))
        h_BTF = Dropout(self.dropout_rate)(h_BTF, deterministic=deterministic)
        return linear(self.hidden_size, "mlp", "embed", "down")(h_BTF)
