"""What stands on an encoder: a pooler, classifiers of one and two layers, masked language models.

Dims: B batch, P places, D hidden size, E embedding size, V vocabulary, N labels.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from flaxformers_edu.layers.dropout import Dropout
from flaxformers_edu.layers.linear import Initializer, Linear, partitioned_param
from flaxformers_edu.layers.mlp import activation
from flaxformers_edu.layers.norms import LayerNorm
from flaxformers_edu.sharding import shard

NORMAL = nn.initializers.normal(0.02)


class Pooler(nn.Module):
    """tanh(x W + b) of the first token's state (Devlin et al. 2018, the released code)."""

    hidden_size: int
    kernel_init: Initializer = NORMAL
    dtype: Any = None

    def setup(self) -> None:
        settings = (True, self.kernel_init, self.dtype)
        self.dense = Linear((self.hidden_size,), ("embed",), ("features",), *settings)
        nn.share_scope(self, self.dense)

    def __call__(self, x_BD: Float[Array, "B D"]) -> Float[Array, "B D"]:
        return jnp.tanh(self.dense(x_BD))


class Classifier(nn.Module):
    """dropout(x) W + b, of one vector or of each token's."""

    num_labels: int
    dropout_rate: float = 0.0
    kernel_init: Initializer = NORMAL
    dtype: Any = None
    use_bias: bool = True

    def setup(self) -> None:
        settings = (self.use_bias, self.kernel_init, self.dtype)
        self.dense = Linear((self.num_labels,), ("embed",), ("labels",), *settings)
        nn.share_scope(self, self.dense)
        self.dropout = Dropout(self.dropout_rate)

    def __call__(
        self, x: Float[Array, "*shape D"], *, deterministic: bool = True
    ) -> Float[Array, "*shape N"]:
        return self.dense(self.dropout(x, deterministic=deterministic))


class TwoLayerClassifier(nn.Module):
    """dropout(act(dropout(x) W + b)) W' + b'; the first dropout has a rate of its own."""

    hidden_size: int
    num_labels: int
    activation: str
    input_dropout_rate: float = 0.0
    dropout_rate: float = 0.0
    kernel_init: Initializer = NORMAL
    dtype: Any = None

    def setup(self) -> None:
        settings = (True, self.kernel_init, self.dtype)
        self.input_dropout = Dropout(self.input_dropout_rate)
        self.dense = Linear((self.hidden_size,), ("embed",), ("features",), *settings)
        self.dropout = Dropout(self.dropout_rate)
        self.out = Linear((self.num_labels,), ("embed",), ("labels",), *settings)

    def __call__(
        self, x: Float[Array, "*shape D"], *, deterministic: bool = True
    ) -> Float[Array, "*shape N"]:
        x = self.dense(self.input_dropout(x, deterministic=deterministic))
        x = activation(self.activation)(x)
        return self.out(self.dropout(x, deterministic=deterministic))


class MaskedLMHead(nn.Module):
    """norm(act(x W + b)) Tᵀ + c, where T is the table of tokens that the embeddings have, too."""

    vocab_size: int
    embedding_size: int
    activation: str
    norm_epsilon: float
    kernel_init: Initializer = NORMAL
    dtype: Any = None

    def setup(self) -> None:
        settings = (True, self.kernel_init, self.dtype)
        self.transform = Linear((self.embedding_size,), ("embed",), ("features",), *settings)
        self.norm = LayerNorm(self.norm_epsilon, self.dtype)
        self.bias = partitioned_param(
            self, "bias", nn.initializers.zeros, ("vocab",), (self.vocab_size,)
        )

    def __call__(
        self, x_BPD: Float[Array, "B P D"], to_vocabulary: Callable[[Array], Array]
    ) -> Float[Array, "B P V"]:
        """Args: the states, and the product with the table, `TokenEmbedding.logits`."""
        h_BPE = self.norm(activation(self.activation)(self.transform(x_BPD)))
        logits_BPV = to_vocabulary(h_BPE)
        logits_BPV = logits_BPV + self.bias.astype(logits_BPV.dtype)[None, None]
        return shard(logits_BPV, ("batch", "positions", "vocab"))
