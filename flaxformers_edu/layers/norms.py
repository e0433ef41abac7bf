"""Layer normalisation (Ba et al. 2016) and RMS normalisation (Zhang & Sennrich 2019)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from flaxformers_edu.layers.linear import Initializer, partitioned_param


class LayerNorm(nn.Module):
    """(x - mean) / √(variance + ε) · scale + bias, with statistics in float32."""

    epsilon: float = 1e-5
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, "*shape D"]) -> Float[Array, "*shape D"]:
        scale = _vector(self, "scale", nn.initializers.ones, x)
        bias = _vector(self, "bias", nn.initializers.zeros, x)
        x32 = x.astype(jnp.float32)
        mean = x32.mean(axis=-1, keepdims=True)
        # The two-pass form: E[x²] - E[x]² cancels badly where the mean is large.
        variance = jnp.square(x32 - mean).mean(axis=-1, keepdims=True)
        y = (x32 - mean) * jax.lax.rsqrt(variance + self.epsilon) * scale + bias
        return y.astype(self.dtype or x.dtype)


class RMSNorm(nn.Module):
    """x / √(mean(x²) + ε) · scale, with the statistic in float32."""

    epsilon: float = 1e-6
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, "*shape D"]) -> Float[Array, "*shape D"]:
        scale = _vector(self, "scale", nn.initializers.ones, x)
        x32 = x.astype(jnp.float32)
        y = x32 * jax.lax.rsqrt(jnp.square(x32).mean(axis=-1, keepdims=True) + self.epsilon)
        return (y * scale).astype(self.dtype or x.dtype)


def _vector(module: nn.Module, name: str, init: Initializer, x: Array) -> Array:
    """A parameter of the features' size, shaped to broadcast against x."""
    vector = partitioned_param(module, name, init, ("norm",), (x.shape[-1],))
    return vector.reshape((1,) * (x.ndim - 1) + (-1,))
