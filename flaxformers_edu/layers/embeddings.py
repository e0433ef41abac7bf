"""Token embeddings, scaled on input and tied to the output (Vaswani et al. 2017, section 3.4).

Dims: B batch, T length, D hidden size, V vocabulary.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from flaxformers_edu.layers.linear import Initializer, partitioned_param
from flaxformers_edu.sharding import shard


class TokenEmbedding(nn.Module):
    """One vector a token; `logits` ties the output layer to the same table.

    `scale` multiplies the looked-up vectors (√D in the paper) but never the tied output.
    """

    vocab_size: int
    hidden_size: int
    scale: float = 1.0
    embedding_init: Initializer = nn.initializers.normal(0.02)
    dtype: Any = None

    def setup(self) -> None:
        self.embedding = partitioned_param(
            self,
            "embedding",
            self.embedding_init,
            ("vocab", "embed"),
            (self.vocab_size, self.hidden_size),
        )

    def __call__(self, input_ids_BT: Int[Array, "B T"]) -> Float[Array, "B T D"]:
        # Whole columns: split over `fsdp` as the batch is, the lookup would gather the whole batch.
        table_VD = shard(self.embedding, ("vocab", "embed"))
        x_BTD = shard(jnp.take(table_VD, input_ids_BT, axis=0), ("batch", "length", "embed"))
        x_BTD = x_BTD.astype(self.dtype or x_BTD.dtype)
        return x_BTD if self.scale == 1.0 else x_BTD * self.scale

    def logits(self, x_BTD: Float[Array, "B T D"]) -> Float[Array, "B T V"]:
        """The product x Eᵀ."""
        x_BTD, table_VD = nn.dtypes.promote_dtype(x_BTD, self.embedding, dtype=self.dtype)
        return jnp.einsum("BTD,VD->BTV", x_BTD, table_VD)
