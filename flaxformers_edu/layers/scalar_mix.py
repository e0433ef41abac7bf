"""One vector a token out of the layers of a model (Peters et al. 2018, eq. 1).

Dims: K layers, B batch, T length, D hidden size.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from flaxformers_edu.layers.linear import partitioned_param

EPSILON = 1e-12


class ScalarMix(nn.Module):
    """γ Σ_k softmax(w)_k h_k, with w beginning at 0 and γ at 1: the mean of the layers.

    With `norm`, each layer is first normalised over all elements of the real tokens of the batch,
    without scale and bias. Parameters: `weights` [K] and `gamma`. The paper's λ‖w‖² (section 3.4)
    is weight decay on `weights`.
    """

    norm: bool = False

    @nn.compact
    def __call__(
        self,
        layers_KBTD: Float[Array, "K B T D"],
        mask_BT: Bool[Array, "B T"] | Int[Array, "B T"] | None = None,
    ) -> Float[Array, "B T D"]:
        zeros, ones = nn.initializers.zeros, nn.initializers.ones
        weights_K = partitioned_param(self, "weights", zeros, ("layers",), layers_KBTD.shape[:1])
        gamma = partitioned_param(self, "gamma", ones, (), ())
        if self.norm:
            layers_KBTD = jax.vmap(lambda x_BTD: _normalised(x_BTD, mask_BT))(layers_KBTD)
        share_K = (gamma * jax.nn.softmax(weights_K)).astype(layers_KBTD.dtype)
        return jnp.einsum("K,KBTD->BTD", share_K, layers_KBTD)


def _normalised(x_BTD: Array, mask_BT: Array | None) -> Array:
    """(x - mean) / √(variance + ε), both over the elements of all real tokens, in float32."""
    everything = jnp.ones((*x_BTD.shape[:2], 1), jnp.bool_)
    real_BT1 = everything if mask_BT is None else mask_BT[..., None] != 0
    x32_BTD = x_BTD.astype(jnp.float32)
    number = jnp.maximum(real_BT1.sum(), 1) * x_BTD.shape[-1]
    mean = jnp.where(real_BT1, x32_BTD, 0).sum() / number
    variance = jnp.where(real_BT1, jnp.square(x32_BTD - mean), 0).sum() / number
    return ((x32_BTD - mean) * jax.lax.rsqrt(variance + EPSILON)).astype(x_BTD.dtype)
