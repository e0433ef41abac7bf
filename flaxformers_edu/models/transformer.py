"""The Transformer (Vaswani et al. 2017, "Attention Is All You Need", arXiv 1706.03762).

Dims: B batch, S source length, T target length, N hypotheses a row, D hidden size, V vocabulary.
"""

import dataclasses
from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int

from flaxformers_edu import flops
from flaxformers_edu.errors import InputError, unknown_name
from flaxformers_edu.flops import Shapes
from flaxformers_edu.layers.attention import Implementation
from flaxformers_edu.layers.block import Block
from flaxformers_edu.layers.cache import DecodeCache, Slots, empty_layers, num_slots
from flaxformers_edu.layers.dropout import Dropout
from flaxformers_edu.layers.embeddings import TokenEmbedding
from flaxformers_edu.layers.linear import Linear, xavier
from flaxformers_edu.layers.masks import Mask
from flaxformers_edu.layers.mlp import FeedForward, activation
from flaxformers_edu.layers.multi_head import MultiHeadAttention
from flaxformers_edu.layers.norms import LayerNorm
from flaxformers_edu.layers.positions import sinusoidal
from flaxformers_edu.layers.stack import Layout, Remat, Share, Stack, layers_apart
from flaxformers_edu.sharding import shard

SourceIds = Int[Array | np.ndarray, "B S"]
TargetIds = Int[Array | np.ndarray, "B T"]
"""Token ids, masks, segments or positions of a side, as tokenisers return them."""


@dataclasses.dataclass(frozen=True)
class TransformerConfig:
    """An encoder-decoder Transformer; the defaults are the paper's base model (table 3)."""

    vocab_size: int = 37000
    """Source and target share one vocabulary (section 5.1)."""
    hidden_size: int = 512
    """d_model."""
    num_layers: int = 6
    """Layers of the encoder, and of the decoder."""
    num_heads: int = 8
    """Attention heads; each of size hidden_size / num_heads."""
    intermediate_size: int = 2048
    """d_ff, the width inside the feed-forward network."""
    activation: str = "relu"
    """relu, gelu, gelu_tanh, quick_gelu or silu."""
    dropout: float = 0.1
    """On the embeddings and on what each sublayer adds to the residual (section 5.4)."""
    attention_dropout: float = 0.0
    """On the attention weights."""
    activation_dropout: float = 0.0
    """Inside the feed-forward network, after the activation."""
    norm_position: Literal["pre", "post"] = "post"
    """Layer norm after the residual sum (the paper), or before each sublayer, with a final norm."""
    norm_epsilon: float = 1e-6
    """Added to the variance in layer norms."""
    position_layout: Literal["interleaved", "halves"] = "interleaved"
    """Sines and cosines in turn (the paper), or all sines first (tensor2tensor, Marian)."""
    tie_embeddings: bool = True
    """The output layer is the embedding table (section 3.4)."""
    max_length: int = 1024
    """Longest source or target that is accepted; sinusoids themselves have no end."""
    pad_token_id: int = 0
    """Padding."""
    eos_token_id: int = 1
    """End of a sentence."""
    decoder_start_token_id: int = 0
    """What the decoder reads first."""
    layout: Layout = "scanned"
    """scanned: compile time independent of depth; unrolled: XLA sees each layer (faster on CPU)."""
    share: Share = "none"
    """Parameters shared by the layers of a stack: none, attention, ffn or all."""
    remat: Remat = "none"
    """What the backward pass recomputes: none, full, dots, dots_no_batch, offload."""
    attention_implementation: Implementation = "auto"
    """auto, reference, xla, cudnn or splash."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of the computation; parameters, softmax, norms and loss stay in float32."""

    def __post_init__(self) -> None:
        for name in ("vocab_size", "hidden_size", "num_layers", "num_heads", "intermediate_size"):
            if getattr(self, name) < 1:
                raise InputError(f"model.{name} is {getattr(self, name)}; it must be at least 1")
        if self.hidden_size % self.num_heads:
            raise InputError(
                f"model.hidden_size {self.hidden_size} does not divide into "
                f"model.num_heads {self.num_heads}"
            )
        for name in ("pad_token_id", "eos_token_id", "decoder_start_token_id"):
            if not 0 <= getattr(self, name) < self.vocab_size:
                raise InputError(
                    f"model.{name} is {getattr(self, name)}; it must be in the vocabulary of "
                    f"{self.vocab_size}"
                )
        activation(self.activation)

    def build(self, task: str = "seq2seq_lm") -> "Transformer":
        """The module.

        Raises:
            InputError: a task other than "seq2seq_lm" (or "base", the same).
        """
        if task not in TASKS:
            raise unknown_name("task", task, TASKS)
        return Transformer(self)

    def forward_flops(
        self, shapes: Shapes, *, masked: bool = False, task: str = "seq2seq_lm"
    ) -> dict[str, float]:
        """FLOPs of a forward pass by part, in the conventions of `flaxformers_edu.flops`.

        Args:
            shapes: those of "input_ids" and "decoder_input_ids"; others are not looked at.
            masked: count pairs that the causal mask hides, too.
            task: of no account; both are the same model.
        """
        (B, S), (_, T) = shapes["input_ids"], shapes["decoder_input_ids"]
        D, F, L = self.hidden_size, self.intermediate_size, self.num_layers
        attention = partial(
            flops.attention, B, hidden_size=D, num_heads=self.num_heads, masked=masked
        )
        return {
            **flops.within("encoder/attention", attention(S, S), L),
            "encoder/mlp": L * flops.feed_forward(B * S, D, F),
            **flops.within("decoder/attention", attention(T, T, causal=True), L),
            **flops.within("decoder/cross_attention", attention(T, S), L),
            "decoder/mlp": L * flops.feed_forward(B * T, D, F),
            "output": flops.linear(B * T, D, self.vocab_size),
        }


TASKS = ("base", "seq2seq_lm")

PRESETS = {
    "transformer-base": TransformerConfig(),
    "transformer-big": TransformerConfig(
        hidden_size=1024, num_heads=16, intermediate_size=4096, dropout=0.3
    ),
}


def parameter_count(config: TransformerConfig) -> int:
    """The number of parameters, from the paper's equations.

    With D = hidden_size, F = intermediate_size and biases everywhere: attention has 4(D² + D), the
    feed-forward network 2DF + F + D, a layer norm 2D. An encoder layer has one attention and two
    norms, a decoder layer two and three; one table V·D serves source, target and output.
    """
    D, F, L = config.hidden_size, config.intermediate_size, config.num_layers
    attention, mlp, norm = 4 * (D * D + D), 2 * D * F + F + D, 2 * D

    def stack(attentions: int, norms: int) -> int:
        attention_part = attentions * (attention + norm)
        mlp_part = mlp + (norms - attentions) * norm
        shared = config.share
        return (1 if shared in ("attention", "all") else L) * attention_part + (
            1 if shared in ("ffn", "all") else L
        ) * mlp_part

    tables = config.vocab_size * D * (1 if config.tie_embeddings else 2)
    final_norms = 2 * norm if config.norm_position == "pre" else 0
    return stack(1, 2) + stack(2, 3) + tables + final_norms


@struct.dataclass
class Seq2SeqOutput:
    """What an encoder-decoder returns."""

    logits: Float[Array, "B T V"]
    encoder_last_hidden_state: Float[Array, "B S D"]
    decoder_last_hidden_state: Float[Array, "B T D"]

    @property
    def last_hidden_state(self) -> Float[Array, "B T D"]:
        """The states that the logits are made of."""
        return self.decoder_last_hidden_state


class Transformer(nn.Module):
    """Encoder and decoder with shared, tied embeddings."""

    config: TransformerConfig
    is_encoder_decoder = True

    def setup(self) -> None:
        c = self.config
        dtype = jnp.dtype(c.dtype)
        attention = partial(
            MultiHeadAttention,
            num_heads=c.num_heads,
            hidden_size=c.hidden_size,
            dropout_rate=c.attention_dropout,
            implementation=c.attention_implementation,
            kernel_init=xavier,
            dtype=dtype,
        )
        mlp = partial(
            FeedForward,
            hidden_size=c.hidden_size,
            intermediate_size=c.intermediate_size,
            activation=c.activation,
            dropout_rate=c.activation_dropout,
            kernel_init=xavier,
            dtype=dtype,
        )
        norm = partial(LayerNorm, epsilon=c.norm_epsilon, dtype=dtype)
        block = partial(
            Block,
            attention,
            mlp,
            norm,
            norm_position=c.norm_position,
            dropout_rate=c.dropout,
        )
        stack = partial(
            Stack, num_layers=c.num_layers, layout=c.layout, share=c.share, remat=c.remat
        )
        # Tied tables serve two masters: N(0, 1/D) gives unit logits, and √D restores unit inputs.
        self.embedding = TokenEmbedding(
            c.vocab_size,
            c.hidden_size,
            scale=c.hidden_size**0.5,
            embedding_init=nn.initializers.normal(c.hidden_size**-0.5),
            dtype=dtype,
        )
        self.encoder = stack(block)
        self.decoder = stack(partial(block, make_cross_attention=attention))
        if c.norm_position == "pre":
            self.encoder_norm, self.decoder_norm = norm(), norm()
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
        segment_ids: SourceIds | None = None,
        positions: SourceIds | None = None,
        decoder_segment_ids: TargetIds | None = None,
        decoder_positions: TargetIds | None = None,
        deterministic: bool = True,
    ) -> Seq2SeqOutput:
        """Logits of the next target token at every target position (teacher forcing).

        Masks are 1 for real tokens and 0 for padding. Packed rows give `segment_ids` (0: padding)
        and `positions` of both sides instead. Without `decoder_input_ids` the decoder reads its
        start token alone.
        """
        if decoder_input_ids is None:
            decoder_input_ids = jnp.full(
                (input_ids.shape[0], 1), self.config.decoder_start_token_id
            )
        encoded_BSD = self.encode(
            input_ids,
            attention_mask,
            segment_ids=segment_ids,
            positions=positions,
            deterministic=deterministic,
        )
        source_mask = Mask.padding(attention_mask)
        target_mask = Mask.padding(decoder_attention_mask, causal=True)
        if segment_ids is not None and decoder_segment_ids is not None:
            source_mask = Mask.packed(decoder_segment_ids, segment_ids)
            target_mask = Mask.packed(decoder_segment_ids, decoder_segment_ids, causal=True)
        x_BTD = self._embed(decoder_input_ids, decoder_positions, deterministic)
        x_BTD, _ = self.decoder(
            x_BTD, target_mask, encoded_BSD, source_mask, deterministic=deterministic
        )
        x_BTD = self.decoder_norm(x_BTD) if self.config.norm_position == "pre" else x_BTD
        return Seq2SeqOutput(self.to_logits(x_BTD), encoded_BSD, x_BTD)

    def encode(
        self,
        input_ids: SourceIds,
        attention_mask: SourceIds | None = None,
        *,
        segment_ids: SourceIds | None = None,
        positions: SourceIds | None = None,
        deterministic: bool = True,
    ) -> Float[Array, "B S D"]:
        """The encoder's last hidden state."""
        mask = Mask.padding(attention_mask)
        if segment_ids is not None:
            mask = Mask.packed(segment_ids, segment_ids)
        x_BSD = self._embed(input_ids, positions, deterministic)
        x_BSD, _ = self.encoder(x_BSD, mask, deterministic=deterministic)
        return self.encoder_norm(x_BSD) if self.config.norm_position == "pre" else x_BSD

    @nn.nowrap
    def head_params(self, params: Any) -> Any:
        """The part of the parameters that `to_logits` needs."""
        name = "embedding" if self.config.tie_embeddings else "output"
        return {name: params[name]}

    def to_logits(self, x_BTD: Float[Array, "B T D"]) -> Float[Array, "B T V"]:
        """The output layer: the embedding table again, unless untied."""
        tied = self.config.tie_embeddings
        logits_BTV = self.embedding.logits(x_BTD) if tied else self.output(x_BTD)
        return shard(logits_BTV, ("batch", "length", "vocab"))

    @nn.nowrap
    def for_decoding(self, params: Any) -> tuple["Transformer", Any]:
        """The form to decode with, see `layers_apart`."""
        return layers_apart(self, params)

    def start_cache(
        self,
        input_ids: SourceIds,
        attention_mask: SourceIds | None = None,
        *,
        num_beams: int,
        max_new_tokens: int,
    ) -> DecodeCache:
        """Encodes the source and keeps its keys and values; the target is still empty."""
        c, B = self.config, input_ids.shape[0]
        self._check_length(max_new_tokens)
        encoded_BSD = self.encode(input_ids, attention_mask)
        cross = self.decoder.each_layer("source_keys_values", encoded_BSD)
        slots = num_slots(0, num_beams, max_new_tokens)
        head_dim = c.hidden_size // c.num_heads
        empty = Slots.empty(B, c.num_heads, slots, head_dim, encoded_BSD.dtype)
        return DecodeCache.create(
            empty_layers(empty, c.num_layers, stacked=c.layout == "scanned", sources=cross),
            prompt_mask_BP=jnp.zeros((B, 0), bool),
            num_beams=num_beams,
            max_new_tokens=max_new_tokens,
            source_mask_BS=None if attention_mask is None else jnp.asarray(attention_mask) != 0,
        )

    def decode_step(
        self, tokens_BN: Int[Array, "B N"], cache: DecodeCache
    ) -> tuple[Float[Array, "B N V"], DecodeCache]:
        """Logits after the newest token of each hypothesis, and the cache with that token in it."""
        cache = cache.extend()
        x_BND = self._embed(tokens_BN, cache.positions(), deterministic=True)
        x_BND, layers = self.decoder(
            x_BND,
            cache.mask(),
            None,
            Mask(key_mask_BS=cache.source_mask_BS),
            cache=cache.layers,
            slot=cache.next_slot,
        )
        x_BND = self.decoder_norm(x_BND) if self.config.norm_position == "pre" else x_BND
        return self.to_logits(x_BND), cache.advance(layers)

    def _check_length(self, length: int) -> None:
        if length > self.config.max_length:
            raise InputError(
                f"{length} positions are more than model.max_length={self.config.max_length}"
            )

    def _embed(
        self,
        input_ids: TargetIds,
        positions: Int[Array | np.ndarray, "#B T"] | None,
        deterministic: bool,
    ) -> Float[Array, "B T D"]:
        c = self.config
        T = input_ids.shape[1]
        self._check_length(T)
        positions_BT = jnp.arange(T)[None] if positions is None else jnp.asarray(positions)
        x_BTD = self.embedding(jnp.asarray(input_ids))
        x_BTD = x_BTD + sinusoidal(positions_BT, c.hidden_size, c.position_layout).astype(
            x_BTD.dtype
        )
        x_BTD = self.dropout(x_BTD, deterministic=deterministic)
        return shard(x_BTD, ("batch", "residual", "embed"))
