"""Multi-head attention (Vaswani et al. 2017, section 3.2.2).

Dims: B batch, T queries, S keys, D hidden size, H query heads, G key/value heads, K head_dim of
queries and keys, W head_dim of values.
"""

from typing import Any

import flax.linen as nn
from jaxtyping import Array, Float, Int

from flaxformers_edu.errors import InputError
from flaxformers_edu.layers.attention import (
    Implementation,
    attention_scores,
    attention_weights,
    dot_product_attention,
    weighted_values,
)
from flaxformers_edu.layers.cache import KeysValues, Slots
from flaxformers_edu.layers.dropout import dropout
from flaxformers_edu.layers.intermediates import sow, wanted
from flaxformers_edu.layers.linear import Initializer, Linear, xavier
from flaxformers_edu.layers.masks import Mask
from flaxformers_edu.layers.positions import Rotary
from flaxformers_edu.sharding import shard


class MultiHeadAttention(nn.Module):
    """MultiHead(Q, K, V) = Concat(head_1, ..., head_H) W_O.

    In two calls, so that keys and values can be kept: `keys_values` projects a source once, and the
    module itself projects the queries and attends. Self-attention passes its own input to both.
    With fewer `num_kv_heads` than `num_heads`, groups of query heads share them (Ainslie
    et al. 2023). `output_init` is W_O's own initialiser, where it is not `kernel_init`.

    Sown, for those who look: "scores", Q Kᵀ · scale before any mask, and "weights", their softmax.
    """

    num_heads: int
    hidden_size: int
    head_dim: int | None = None
    value_head_dim: int | None = None
    num_kv_heads: int | None = None
    use_bias: bool = True
    use_output_bias: bool | None = None
    scale: float | None = None
    rotary: Rotary | None = None
    dropout_rate: float = 0.0
    implementation: Implementation = "auto"
    kernel_init: Initializer = xavier
    output_init: Initializer | None = None
    dtype: Any = None

    def setup(self) -> None:
        if self.head_dim is None and self.hidden_size % self.num_heads:
            raise InputError(
                f"hidden_size {self.hidden_size} does not divide into num_heads {self.num_heads}; "
                "give head_dim, or change one of them"
            )
        head_dim = self.head_dim or self.hidden_size // self.num_heads
        value_dim = self.value_head_dim or head_dim
        kv_heads = self.num_kv_heads or self.num_heads

        def heads(number: int, width: int, kind: str) -> Linear:
            axes = ("heads" if kind == "query" else "kv_heads", "head_dim")
            return Linear(
                (number, width), ("embed",), axes, self.use_bias, self.kernel_init, self.dtype
            )

        self.query = heads(self.num_heads, head_dim, "query")
        self.key = heads(kv_heads, head_dim, "key")
        self.value = heads(kv_heads, value_dim, "value")
        output_bias = self.use_bias if self.use_output_bias is None else self.use_output_bias
        self.out = Linear(
            (self.hidden_size,),
            ("heads", "head_dim"),
            ("embed",),
            output_bias,
            self.output_init or self.kernel_init,
            self.dtype,
        )

    def keys_values(
        self, source_BSD: Float[Array, "B S D"], positions_BS: Int[Array, "#B S"] | None = None
    ) -> KeysValues:
        """Projects what will be attended to."""
        k_BSGK = self.key(source_BSD)
        if self.rotary is not None:
            k_BSGK = self.rotary(k_BSGK, positions_BS)
        k_BSGK = shard(k_BSGK, ("batch", "kv_length", "kv_heads", "head_dim"))
        v_BSGW = shard(self.value(source_BSD), ("batch", "kv_length", "kv_heads", "head_dim"))
        return KeysValues(k_BSGK, v_BSGW)

    def __call__(
        self,
        x_BTD: Float[Array, "B T D"],
        source: KeysValues | Slots,
        mask: Mask | None = None,
        *,
        positions_BT: Int[Array, "#B T"] | None = None,
        deterministic: bool = True,
    ) -> Float[Array, "B T D"]:
        """Attends from `x` to the keys and values of `source`."""
        q_BTHK = self.query(x_BTD)
        if self.rotary is not None:
            q_BTHK = self.rotary(q_BTHK, positions_BT)
        q_BTHK = shard(q_BTHK, ("batch", "length", "heads", "head_dim"))
        drop = self.dropout_rate > 0 and not deterministic
        key = self.make_rng("dropout") if drop else None
        if wanted(self):
            scale = q_BTHK.shape[-1] ** -0.5 if self.scale is None else self.scale
            scores_BHTS = attention_scores(q_BTHK, source.key_BSGK, scale)
            weights_BHTS = attention_weights(scores_BHTS, mask or Mask())
            sow(self, "scores", scores_BHTS)
            sow(self, "weights", weights_BHTS)
            weights_BHTS = dropout(weights_BHTS, self.dropout_rate, key)
            o_BTHW = weighted_values(weights_BHTS, source.value_BSGW)
        else:
            o_BTHW = dot_product_attention(
                q_BTHK,
                source.key_BSGK,
                source.value_BSGW,
                mask,
                scale=self.scale,
                implementation=self.implementation,
                dropout_rate=self.dropout_rate,
                dropout_key=key,
            )
        o_BTHW = shard(o_BTHW, ("batch", "length", "heads", "head_dim"))
        return self.out(o_BTHW)
