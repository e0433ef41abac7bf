"""Embeddings of tokens, scaled on input and tied to the output (Vaswani et al. 2017, section 3.4),
and BERT's sum of token, position and token type (Devlin et al. 2018, figure 2).

Dims: B batch, T length, D hidden size, E embedding size, V vocabulary, Y token types.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from flaxformers_edu.layers.dropout import Dropout
from flaxformers_edu.layers.linear import Initializer, affine, partitioned_param
from flaxformers_edu.layers.norms import LayerNorm
from flaxformers_edu.layers.positions import LearnedPositions
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
        return affine(x_BTD, table_VD.T)


class TokenTypeEmbedding(nn.Module):
    """One vector for each of a few types; which of two sentences a token belongs to, in BERT."""

    num_types: int
    embedding_size: int
    embedding_init: Initializer = nn.initializers.normal(0.02)
    dtype: Any = None

    @nn.compact
    def __call__(self, token_type_ids_BT: Int[Array, "B T"]) -> Float[Array, "B T E"]:
        shape = (self.num_types, self.embedding_size)
        axes = ("token_types", "embed")
        table_YE = partitioned_param(self, "embedding", self.embedding_init, axes, shape)
        table_YE = shard(table_YE, axes)  # whole columns, as in TokenEmbedding
        # A product: the gradient of a lookup would add all tokens of the batch to two rows in turn.
        types_BTY = jax.nn.one_hot(token_type_ids_BT, self.num_types, dtype=table_YE.dtype)
        x_BTE = jnp.einsum("BTY,YE->BTE", types_BTY, table_YE, precision="highest")
        return x_BTE.astype(self.dtype or x_BTE.dtype)


class TextEmbeddings(nn.Module):
    """dropout(norm(token + position + token type)), what an encoder reads.

    With `num_token_types` 0 there is no table of types; with 1 every token is of type 0.
    The table of positions has `position_offset` rows before the first.
    """

    vocab_size: int
    embedding_size: int
    max_length: int
    num_token_types: int = 2
    position_offset: int = 0
    norm_epsilon: float = 1e-12
    dropout_rate: float = 0.0
    embedding_init: Initializer = nn.initializers.normal(0.02)
    dtype: Any = None

    def setup(self) -> None:
        settings = (self.embedding_init, self.dtype)
        E = self.embedding_size
        self.token = TokenEmbedding(self.vocab_size, E, 1.0, *settings)
        self.positions = LearnedPositions(self.max_length, E, self.position_offset, *settings)
        if self.num_token_types:
            self.token_types = TokenTypeEmbedding(self.num_token_types, E, *settings)
        self.norm = LayerNorm(self.norm_epsilon, self.dtype)
        self.dropout = Dropout(self.dropout_rate)

    def __call__(
        self,
        input_ids_BT: Int[Array, "B T"],
        positions_BT: Int[Array, "#B T"],
        token_type_ids_BT: Int[Array, "B T"] | None = None,
        *,
        deterministic: bool = True,
    ) -> Float[Array, "B T E"]:
        x_BTE = self.token(input_ids_BT) + self.positions(positions_BT)
        if self.num_token_types:
            if token_type_ids_BT is None or self.num_token_types == 1:
                token_type_ids_BT = jnp.zeros_like(input_ids_BT)
            x_BTE = x_BTE + self.token_types(token_type_ids_BT)
        return self.dropout(self.norm(x_BTE), deterministic=deterministic)

    def logits(self, x_BTE: Float[Array, "B T E"]) -> Float[Array, "B T V"]:
        """The product with the table of tokens."""
        return self.token.logits(x_BTE)
