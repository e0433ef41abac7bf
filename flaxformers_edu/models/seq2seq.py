"""Recurrent encoder-decoders: Sutskever et al. 2014 (arXiv 1409.3215), Bahdanau et al. 2014 (arXiv
1409.0473), Luong et al. 2015 (arXiv 1508.04025).

Dims: B batch, S source length, T target length, N hypotheses a row, D size of an embedding,
H units of the decoder, E size of a state of the encoder, F size of what the output layer reads,
V vocabulary.
"""

import dataclasses
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int

from flaxformers_edu.layers.alignment import Source
from flaxformers_edu.layers.dropout import Dropout
from flaxformers_edu.layers.embeddings import TokenEmbedding
from flaxformers_edu.layers.intermediates import sow
from flaxformers_edu.layers.linear import Linear
from flaxformers_edu.layers.recurrent import Recurrent, RecurrentState
from flaxformers_edu.layers.recurrent_decoder import RecurrentDecoder
from flaxformers_edu.layers.recurrent_decoder_cell import DecoderState
from flaxformers_edu.layers.recurrent_stack import Bidirectional, RecurrentStack
from flaxformers_edu.models.seq2seq_config import (
    PRESETS,
    TASKS,
    Seq2SeqConfig,
    parameter_count,
)
from flaxformers_edu.models.transformer import Seq2SeqOutput, SourceIds, TargetIds
from flaxformers_edu.sharding import shard

__all__ = ["PRESETS", "TASKS", "Seq2Seq", "Seq2SeqConfig", "parameter_count"]


@struct.dataclass
class Seq2SeqCache:
    """All that the decoder remembers between steps of a search."""

    state: DecoderState
    """Of each hypothesis: leaves [B, N, ...]."""
    source: Source | None
    """What is looked at, once for all hypotheses of a row: leaves [B, S, ...]."""

    def reorder(self, parents_BN: Int[Array, "B N"]) -> "Seq2SeqCache":
        """Hypothesis n goes on from what hypothesis parents[b, n] remembers."""

        def gather(x_BNH: Array) -> Array:
            return jnp.take_along_axis(x_BNH, parents_BN[..., None], axis=1)

        return dataclasses.replace(self, state=jax.tree.map(gather, self.state))


class Seq2Seq(nn.Module):
    """Encoder and decoder, with or without attention.

    Sown, for those who look: what each layer of the encoder says (`encoder/hidden_states`), the
    weights of attention (`decoder/cross_attention/weights`, [1, B, 1, T, S]), and, where the model
    reads its own words, the words that were read (`read_ids`).
    """

    config: Seq2SeqConfig
    is_encoder_decoder = True
    reads_its_own_words = True
    """Whether `sampling_probability` may be asked of it."""

    def setup(self) -> None:
        c = self.config
        dtype, D = jnp.dtype(c.dtype), c.embedding_size
        table = partial(TokenEmbedding, embedding_init=nn.initializers.normal(D**-0.5), dtype=dtype)
        self.embedding = table(c.vocab_size, D)
        if c.source_vocab_size is not None:
            self.source_embedding = table(c.source_vocab_size, D)
        layer: Any = partial(Recurrent, c.kind, c.encoder_units, unroll=c.unroll, dtype=dtype)
        layer = partial(Bidirectional, layer) if c.bidirectional else layer
        self.encoder = RecurrentStack(
            (layer,) * c.num_layers, dropout=c.dropout, reverse=c.reverse_source
        )
        if c.source_size != c.hidden_size:
            bridge = partial(Linear, (c.hidden_size,), ("embed",), ("mlp",), dtype=dtype)
            self.bridge_hidden = [bridge() for _ in range(c.num_layers)]
            if c.kind == "lstm":
                self.bridge_cell = [bridge(dtype=jnp.float32) for _ in range(c.num_layers)]
        self.decoder = RecurrentDecoder(
            c.kind,
            c.num_layers,
            D,
            c.hidden_size,
            c.source_size,
            c.reads,
            score=c.score,
            wiring=c.wiring,
            input_feeding=c.input_feeding,
            dropout=c.dropout,
            unroll=c.unroll,
            dtype=dtype,
        )
        if not c.tie_embeddings:
            self.output = Linear(
                (c.vocab_size,), ("embed",), ("vocab",), use_bias=False, dtype=dtype
            )
        self.dropout = Dropout(c.dropout)

    @staticmethod
    def dummy_inputs() -> dict[str, Array]:
        """The smallest inputs that initialise every parameter."""
        return {"input_ids": jnp.zeros((1, 1), jnp.int32)}

    def __call__(
        self,
        input_ids: SourceIds,
        attention_mask: SourceIds | None = None,
        decoder_input_ids: TargetIds | None = None,
        decoder_attention_mask: TargetIds | None = None,
        *,
        sampling_probability: Float[Array, " B"] | None = None,
        deterministic: bool = True,
    ) -> Seq2SeqOutput:
        """Logits of the next target token at every target position.

        The decoder reads `decoder_input_ids` (teacher forcing); without them its start token alone.
        With `sampling_probability` it reads instead, at each place but the first and with this
        probability, what it has drawn itself from its logits before (Bengio et al. 2015): that
        takes a key, "dropout". Masks are 1 for real tokens; the target's padding is on the right,
        where it changes nothing.
        """
        c = self.config
        ids_BT = jnp.full((input_ids.shape[0], 1), c.decoder_start_token_id)
        if decoder_input_ids is not None:
            ids_BT = jnp.asarray(decoder_input_ids)
        encoded_BSE, state = self._encode(input_ids, attention_mask, deterministic)
        source = self._source(encoded_BSE, attention_mask)
        if sampling_probability is not None and not deterministic:
            read_BTF, logits_BTV = self._speak(ids_BT, sampling_probability, state, source)
            return Seq2SeqOutput(logits_BTV, encoded_BSE, read_BTF)
        x_BTD = self.dropout(self.embedding(ids_BT), deterministic=deterministic)
        read_BTF = self.decoder(x_BTD, state, source, deterministic=deterministic)
        read_BTF = self.dropout(read_BTF, deterministic=deterministic)
        return Seq2SeqOutput(self.to_logits(read_BTF), encoded_BSE, read_BTF)

    def encode(
        self,
        input_ids: SourceIds,
        attention_mask: SourceIds | None = None,
        *,
        deterministic: bool = True,
    ) -> Float[Array, "B S E"]:
        """The states of the encoder's highest layer, in the order of the source."""
        return self._encode(input_ids, attention_mask, deterministic)[0]

    @nn.nowrap
    def head_params(self, params: Any) -> Any:
        """The part of the parameters that `to_logits` needs."""
        name = "embedding" if self.config.tie_embeddings else "output"
        return {name: params[name]}

    def to_logits(self, x_BTF: Float[Array, "B T F"]) -> Float[Array, "B T V"]:
        """The output layer: the target's table of embeddings again, or one of its own."""
        tied = self.config.tie_embeddings
        x_BTF = shard(x_BTF, ("batch", "length", "embed"))
        logits_BTV = self.embedding.logits(x_BTF) if tied else self.output(x_BTF)
        return shard(logits_BTV, ("batch", "length", "vocab"))

    def start_cache(
        self,
        input_ids: SourceIds,
        attention_mask: SourceIds | None = None,
        *,
        num_beams: int,
        max_new_tokens: int,
    ) -> Seq2SeqCache:
        """Encodes the source; every hypothesis begins from what the encoder remembers.

        max_new_tokens is of no account: what is remembered does not grow.
        """
        encoded_BSE, state = self._encode(input_ids, attention_mask, deterministic=True)

        def repeat(x_BH: Array) -> Array:
            return jnp.repeat(x_BH[:, None], num_beams, axis=1)

        source = self._source(encoded_BSE, attention_mask)
        return Seq2SeqCache(jax.tree.map(repeat, state), source)

    def decode_step(
        self, tokens_BN: Int[Array, "B N"], cache: Seq2SeqCache
    ) -> tuple[Float[Array, "B N V"], Seq2SeqCache]:
        """Logits after the newest token of each hypothesis, and the cache with that token in it."""
        B, N = tokens_BN.shape
        rows = jax.tree.map(lambda x: x.reshape(B * N, *x.shape[2:]), cache.state)
        read_BNF, rows = self.decoder.step(self.embedding(tokens_BN), rows, cache.source)
        state = jax.tree.map(lambda x: x.reshape(B, N, *x.shape[1:]), rows)
        return self.to_logits(read_BNF), dataclasses.replace(cache, state=state)

    def _encode(
        self, input_ids: SourceIds, attention_mask: SourceIds | None, deterministic: bool
    ) -> tuple[Float[Array, "B S E"], DecoderState]:
        """The states of the highest layer, and the decoder's state before its first word."""
        own_table = self.config.source_vocab_size is not None
        embedding = self.source_embedding if own_table else self.embedding
        x_BSD = self.dropout(embedding(jnp.asarray(input_ids)), deterministic=deterministic)
        mask_BS = None if attention_mask is None else jnp.asarray(attention_mask) != 0
        outputs, last = self.encoder(x_BSD, None, mask_BS, deterministic=deterministic)
        layers = tuple(self._bridged(number, state) for number, state in enumerate(last))
        return outputs[-1], self.decoder.start(layers)

    def _source(self, encoded_BSE: Array, attention_mask: SourceIds | None) -> Source | None:
        mask_BS = None if attention_mask is None else jnp.asarray(attention_mask) != 0
        return self.decoder.source(encoded_BSE, mask_BS)

    def _bridged(self, number: int, last: Any) -> RecurrentState:
        """What a layer of the decoder begins with: the last state of the encoder's layer.

        Of both directions, side by side; through a linear map (tanh for the output, as Bahdanau's
        appendix A.2.2 has it) where that is not of the decoder's size.
        """
        directions = last if self.config.bidirectional else (last,)
        hidden, cell = jax.tree.map(
            lambda *states: jnp.concatenate(states, axis=-1),
            *((state.hidden_BP, state.cell_BH) for state in directions),
        )
        if self.config.source_size != self.config.hidden_size:
            hidden = jnp.tanh(self.bridge_hidden[number](hidden))
            cell = None if cell is None else self.bridge_cell[number](cell)
        return RecurrentState(hidden, cell)

    def _speak(
        self,
        ids_BT: Array,
        probability_B: Array,
        state: DecoderState,
        source: Source | None,
    ) -> tuple[Array, Array]:
        """What the output layer reads and its logits, with some words the model's own."""
        T = ids_BT.shape[1]
        chance_BT = jax.random.uniform(self.make_rng("dropout"), ids_BT.shape)
        own_BT = (chance_BT < probability_B[:, None]) & (jnp.arange(T)[None] > 0)
        table_VD = self.embedding.embedding
        output_FV = (
            table_VD.T
            if self.config.tie_embeddings
            else self.output.get_variable("params", "kernel")
        )
        read_BTF, logits_BTV, read_ids_BT = self.decoder.speak(
            ids_BT,
            own_BT,
            state,
            source,
            embedding_VD=table_VD,
            output_FV=output_FV,
            dropout_rate=self.config.dropout,
        )
        sow(self, "read_ids", read_ids_BT)
        return read_BTF, shard(logits_BTV, ("batch", "length", "vocab"))
