"""One Transformer layer: attention, attention to a source, feed-forward, with residuals and norms.

Dims: B batch, T length, S source length, D hidden size.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import flax.linen as nn
import jax
from jaxtyping import Array, Float, Int

from flaxformers_edu.layers.cache import LayerCache, Slots
from flaxformers_edu.layers.dropout import Dropout
from flaxformers_edu.layers.intermediates import sow
from flaxformers_edu.layers.masks import Mask
from flaxformers_edu.sharding import shard

Part = Callable[..., nn.Module]


class Block(nn.Module):
    """An encoder block; with `make_cross_attention` a decoder block (Vaswani et al. 2017, fig. 1).

    Residual and norm are arranged as
        post (the paper, BERT):    x ← norm(x + dropout(f(x)))
        pre  (GPT-2, T5, Llama):   x ← x + dropout(f(norm(x)))

    Args:
        make_attention: makes a MultiHeadAttention.
        make_mlp: makes a FeedForward.
        make_norm: makes a LayerNorm or RMSNorm.
        make_cross_attention: makes the attention to a source; None where there is none.
        norm_position: "pre" or "post".
        dropout_rate: dropout on what each sublayer adds to the residual.
        drop_attention: whether that is so for attention's output, too (not in DistilBERT).
    """

    make_attention: Part
    make_mlp: Part
    make_norm: Part
    make_cross_attention: Part | None = None
    norm_position: Literal["pre", "post"] = "post"
    dropout_rate: float = 0.0
    drop_attention: bool = True

    def setup(self) -> None:
        self.attention = self.make_attention()
        self.attention_norm = self.make_norm()
        if self.make_cross_attention is not None:
            self.cross_attention = self.make_cross_attention()
            self.cross_attention_norm = self.make_norm()
        self.mlp = self.make_mlp()
        self.mlp_norm = self.make_norm()
        self.dropout = Dropout(self.dropout_rate)

    def __call__(
        self,
        x_BTD: Float[Array, "B T D"],
        mask: Mask | None = None,
        source_BSD: Float[Array, "B S D"] | None = None,
        source_mask: Mask | None = None,
        *,
        positions_BT: Int[Array, "#B T"] | None = None,
        cache: LayerCache | None = None,
        slot: Int[Array, ""] | int | None = None,
        deterministic: bool = True,
    ) -> tuple[Float[Array, "B T D"], LayerCache | None]:
        """Returns (y, cache).

        With a `cache`, new keys and values are written at `slot` and all of its slots are
        attended to, as `mask` allows; the source's keys and values are read from it. With
        `slot` None the cache is only filled, from its first slot on: `mask` is over the new tokens.
        """

        def attend(h_BTD: Array) -> Array:
            nonlocal cache
            seen = self.attention.keys_values(h_BTD, positions_BT)
            if cache is not None:
                written = cache.attention.write(seen, 0 if slot is None else slot)
                cache = replace(cache, attention=written)
                seen = seen if slot is None else written
            return self.attention(
                h_BTD, seen, mask, positions_BT=positions_BT, deterministic=deterministic
            )

        def attend_to_source(h_BTD: Array) -> Array:
            seen = cache.cross_attention if cache is not None else None
            seen = self.cross_attention.keys_values(source_BSD) if seen is None else seen
            return self.cross_attention(h_BTD, seen, source_mask, deterministic=deterministic)

        def feed_forward(h_BTD: Array) -> Array:
            return self.mlp(h_BTD, deterministic=deterministic)

        def residual(
            x_BTD: Array, f: Callable[[Array], Array], norm: nn.Module, drop: bool = True
        ) -> Array:
            h_BTD = norm(x_BTD) if self.norm_position == "pre" else x_BTD
            h_BTD = f(shard(h_BTD, ("batch", "length", "embed")))
            x_BTD = x_BTD + self.dropout(h_BTD, deterministic=deterministic or not drop)
            x_BTD = norm(x_BTD) if self.norm_position == "post" else x_BTD
            return shard(x_BTD, ("batch", "residual", "embed"))

        x_BTD = residual(x_BTD, attend, self.attention_norm, self.drop_attention)
        if self.make_cross_attention is not None:
            x_BTD = residual(x_BTD, attend_to_source, self.cross_attention_norm)
        x_BTD = residual(x_BTD, feed_forward, self.mlp_norm)
        sow(self, "hidden_state", x_BTD)
        return x_BTD, cache

    def source_keys_values(self, source_BSD: Float[Array, "B S D"]) -> Slots:
        """Keys and values of the source, to be computed once and kept in a cache."""
        slots = Slots.of(self.cross_attention.keys_values(source_BSD))
        # Without the barrier XLA puts the reordering where it is used: into every decoding step.
        return jax.lax.optimization_barrier(slots)
