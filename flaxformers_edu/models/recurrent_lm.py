"""The language model of AWD-LSTM (Merity et al. 2017, sections 2 and 4), and the classifier of
ULMFiT (Howard & Ruder 2018, section 3.3) that stands on it.

LSTM layers between a table of tokens and its transpose. Whatever is dropped is dropped for a
whole text: words, entries of the recurrent matrices, features. The state of a text goes in and
comes out, so that the next batch may go on from it.

Dims: B batch, T length, P prompt length, N hypotheses a row, C chunks, c length of a chunk,
E embedding size, V vocabulary.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from flaxformers_edu.layers.dropout import Dropout, dropout
from flaxformers_edu.layers.embeddings import TokenEmbedding
from flaxformers_edu.layers.linear import partitioned_param
from flaxformers_edu.layers.pooling import PooledClassifier, concat_pooling
from flaxformers_edu.layers.recurrent import Recurrent, RecurrentState
from flaxformers_edu.layers.recurrent_stack import RecurrentStack
from flaxformers_edu.models.outputs import BaseOutput, ClassifierOutput
from flaxformers_edu.sharding import shard

Ids = Int[Array | np.ndarray, "B T"]


@struct.dataclass
class RecurrentLMOutput:
    """Logits of the next token at every place, and what the model remembers after the last."""

    logits: Float[Array, "B T V"]
    last_hidden_state: Float[Array, "B T E"]
    """What the output layer read: dropped out where training drops."""
    undropped_state: Float[Array, "B T E"]
    """The states of the last layer themselves."""
    states: Any
    """Of each layer, after the last real token of each row."""


class RecurrentLM(nn.Module):
    """The body, and the head of a task; the body's parameters have the same names in every task."""

    config: Any
    """An `AWDLSTMConfig`."""
    task: str = "causal_lm"
    is_encoder_decoder = False

    def setup(self) -> None:
        c, dtype = self.config, jnp.dtype(self.config.dtype)
        self.embedding = TokenEmbedding(c.vocab_size, c.embedding_size, 1.0, _uniform, dtype)
        self.input_dropout = Dropout(c.input_dropout, (1,))
        make = partial(
            Recurrent, "lstm", weight_drop=c.weight_dropout, unroll=c.unroll, dtype=dtype
        )
        layers = [partial(make, hidden_size=units) for _, units in c.layer_sizes]
        self.layers = RecurrentStack(layers, c.hidden_dropout, locked=True)
        self.output_dropout = Dropout(c.output_dropout, (1,))
        self.output = _Bias(c.vocab_size)
        self.classifier = PooledClassifier(
            c.classifier_size, c.num_labels, c.output_dropout, c.classifier_dropout, dtype
        )

    @nn.nowrap
    def dummy_inputs(self) -> dict[str, Array]:
        """The smallest inputs that initialise every parameter."""
        return {"input_ids": jnp.zeros((1, 1), jnp.int32)}

    @nn.nowrap
    def start(self, rows: int) -> tuple[RecurrentState, ...]:
        """What is remembered before the first token: zeros, of each layer."""
        dtype = jnp.dtype(self.config.dtype)
        return tuple(
            RecurrentState(jnp.zeros((rows, units), dtype), jnp.zeros((rows, units), jnp.float32))
            for _, units in self.config.layer_sizes
        )

    def __call__(
        self,
        input_ids: Ids,
        attention_mask: Ids | None = None,
        *,
        states: Any = None,
        deterministic: bool = True,
    ) -> Any:
        """The output of the task.

        Args:
            input_ids: the tokens.
            attention_mask: 1 for real tokens, wherever they are: padding changes no state.
            states: to go on from, as `start` gives them; None: from the beginning of a text. Not
                for classification, which reads whole texts.
            deterministic: no dropout.
        """
        ids_BT = jnp.asarray(input_ids)
        mask_BT = None if attention_mask is None else jnp.asarray(attention_mask) != 0
        if self.task == "sequence_classification":
            x_BTE, pooled_BT = self._read_in_chunks(ids_BT, mask_BT, deterministic)
            x_BD = concat_pooling(x_BTE, pooled_BT)
            return ClassifierOutput(self.classifier(x_BD, deterministic=deterministic), x_BTE)
        x_BTE, states = self._read(ids_BT, mask_BT, states, deterministic)
        if self.task == "base":
            return BaseOutput(x_BTE, None)
        dropped_BTE = self.output_dropout(x_BTE, deterministic=deterministic)
        return RecurrentLMOutput(self.to_logits(dropped_BTE), dropped_BTE, x_BTE, states)

    def _read(
        self,
        ids_BT: Int[Array, "B T"],
        mask_BT: Bool[Array, "B T"] | None,
        states: Any,
        deterministic: bool,
    ) -> tuple[Float[Array, "B T E"], Any]:
        """The states of the last layer, and those of all after the last real token."""
        c = self.config
        x_BTE = self.embedding(ids_BT)
        if c.embedding_dropout and not deterministic:
            one_V1 = jnp.ones((c.vocab_size, 1), x_BTE.dtype)
            kept_V1 = dropout(one_V1, c.embedding_dropout, self.make_rng("dropout"))
            x_BTE = x_BTE * jnp.take(kept_V1, ids_BT, axis=0)
        x_BTE = self.input_dropout(x_BTE, deterministic=deterministic)
        states = self.start(len(ids_BT)) if states is None else states
        outputs, states = self.layers(x_BTE, states, mask_BT, deterministic=deterministic)
        return shard(outputs[-1], ("batch", "length", "embed")), states

    def _read_in_chunks(
        self, ids_BT: Int[Array, "B T"], mask_BT: Bool[Array, "B T"] | None, deterministic: bool
    ) -> tuple[Float[Array, "B S E"], Bool[Array, "B S"]]:
        """The states to be pooled, and which of them are real (BPT3C, section 3.3).

        Padding is moved before the text: then the end of all texts is at the end. Gradients go
        through a chunk, and not into the one before; chunks before the pooled ones have none.
        """
        c, (B, T) = self.config, ids_BT.shape
        real_BT = jnp.ones((B, T), bool) if mask_BT is None else mask_BT
        order_BT = jnp.argsort(real_BT, axis=1, stable=True)
        ids_BT, real_BT = (jnp.take_along_axis(x, order_BT, axis=1) for x in (ids_BT, real_BT))
        if c.chunk_length >= T:
            return self._read(ids_BT, real_BT, None, deterministic)[0], real_BT
        missing = -T % c.chunk_length
        chunks_CBc = [
            jnp.pad(x, ((0, 0), (missing, 0))).reshape(B, -1, c.chunk_length).swapaxes(0, 1)
            for x in (ids_BT, real_BT)
        ]
        early = max(len(chunks_CBc[0]) - c.pooled_length // c.chunk_length, 0)

        def read(model: RecurrentLM, states: Any, chunk: Any) -> tuple[Any, Array]:
            ids_Bc, real_Bc = chunk
            states = jax.lax.stop_gradient(states)
            y_BcE, states = model._read(ids_Bc, real_Bc, states, deterministic)
            return states, y_BcE

        # One set of random numbers: what is dropped is dropped in all chunks of a text.
        scan = nn.scan(
            read, variable_broadcast="params", split_rngs={"params": False, "dropout": False}
        )
        states = self.start(B)
        if early:
            states, _ = scan(self, states, tuple(x[:early] for x in chunks_CBc))
        _, y_CBcE = scan(self, jax.lax.stop_gradient(states), tuple(x[early:] for x in chunks_CBc))
        pooled_CBc = chunks_CBc[1][early:]
        y_BSE = y_CBcE.swapaxes(0, 1).reshape(B, -1, c.embedding_size)
        return y_BSE, pooled_CBc.swapaxes(0, 1).reshape(B, -1)

    @nn.nowrap
    def head_params(self, params: Any) -> Any:
        """The part of the parameters that `to_logits` needs."""
        return {name: params[name] for name in ("embedding", "output")}

    def to_logits(self, x_BTE: Float[Array, "B T E"]) -> Float[Array, "B T V"]:
        """The product with the table of tokens, and a bias."""
        logits_BTV = self.embedding.logits(x_BTE)
        logits_BTV = logits_BTV + self.output().astype(logits_BTV.dtype)[None, None]
        return shard(logits_BTV, ("batch", "length", "vocab"))

    def start_cache(
        self,
        input_ids: Ids,
        attention_mask: Ids | None = None,
        *,
        num_beams: int,
        max_new_tokens: int,
    ) -> Any:
        """The states after all of the prompt but its last token, [B, N, ...] of each hypothesis."""
        prompt_BP = jnp.asarray(input_ids)[:, :-1]
        states = self.start(len(prompt_BP))
        if prompt_BP.shape[1]:
            mask_BP = None
            if attention_mask is not None:
                mask_BP = jnp.asarray(attention_mask)[:, :-1] != 0
            _, states = self._read(prompt_BP, mask_BP, states, True)
        return jax.tree.map(lambda x: jnp.repeat(x[:, None], num_beams, axis=1), states)

    def decode_step(
        self, tokens_BN: Int[Array, "B N"], cache: Any
    ) -> tuple[Float[Array, "B N V"], Any]:
        """Logits after the newest token of each hypothesis, and the states after it."""
        B, N = tokens_BN.shape
        states = jax.tree.map(lambda x: x.reshape(B * N, -1), cache)
        x_R1E, states = self._read(tokens_BN.reshape(B * N, 1), None, states, True)
        logits_BNV = self.to_logits(x_R1E).reshape(B, N, -1)
        return logits_BNV, jax.tree.map(lambda x: x.reshape(B, N, -1), states)


class _Bias(nn.Module):
    """Of an output layer whose matrix is the table of tokens."""

    size: int

    @nn.compact
    def __call__(self) -> Float[Array, " V"]:
        return partitioned_param(self, "bias", nn.initializers.zeros, ("vocab",), (self.size,))


def _uniform(key: Array, shape: Any, dtype: Any = jnp.float32) -> Array:
    """Within ±0.1 (section 5)."""
    return jax.random.uniform(key, shape, dtype, -0.1, 0.1)
