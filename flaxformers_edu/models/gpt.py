"""GPT-2 (Radford et al. 2019) and GPT-3 (Brown et al. 2020, arXiv 2005.14165): decoders alone.

Dims: B batch, T length, P prompt length, N hypotheses a row, D hidden size, V vocabulary.
"""

import dataclasses
from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from flaxformers_edu import flops
from flaxformers_edu.errors import InputError, unknown_name
from flaxformers_edu.flops import Shapes
from flaxformers_edu.layers.attention import Implementation
from flaxformers_edu.layers.block import Block
from flaxformers_edu.layers.cache import (
    DecodeCache,
    Slots,
    empty_layers,
    num_slots,
    prompt_positions,
)
from flaxformers_edu.layers.dropout import Dropout
from flaxformers_edu.layers.embeddings import TokenEmbedding
from flaxformers_edu.layers.masks import Mask
from flaxformers_edu.layers.mlp import FeedForward, activation
from flaxformers_edu.layers.multi_head import MultiHeadAttention
from flaxformers_edu.layers.norms import LayerNorm
from flaxformers_edu.layers.positions import LearnedPositions
from flaxformers_edu.layers.stack import Layout, Remat, Share, Stack, layers_apart
from flaxformers_edu.sharding import shard

Ids = Int[Array | np.ndarray, "B T"]
"""Token ids, masks, segments or positions, as tokenisers return them."""


@dataclasses.dataclass(frozen=True)
class GPTConfig:
    """A decoder-only Transformer; the defaults are the smallest GPT-2."""

    vocab_size: int = 50257
    """Byte-level pieces, and the end of a text."""
    hidden_size: int = 768
    """d_model."""
    num_layers: int = 12
    """Layers."""
    num_heads: int = 12
    """Attention heads."""
    head_dim: int | None = None
    """Size of a head; hidden_size / num_heads where it is not given."""
    intermediate_size: int = 3072
    """d_ff, the width inside the feed-forward network."""
    activation: str = "gelu_tanh"
    """relu, gelu, gelu_tanh, quick_gelu or silu."""
    dropout: float = 0.1
    """On what each sublayer adds to the residual."""
    embedding_dropout: float = 0.1
    """On the sum of the embeddings of token and position."""
    attention_dropout: float = 0.1
    """On the attention weights."""
    norm_epsilon: float = 1e-5
    """Added to the variance in layer norms."""
    init_std: float = 0.02
    """Standard deviation that weights begin with; what writes to the residual begins with
    1/√(2 num_layers) of it (GPT-2, section 2.3)."""
    mup_base_width: int = 0
    """Above 0: muP (Yang et al. 2022, Tensor Programs V, table 8), by which a learning rate found
    at this hidden_size serves every other. The optimiser needs `mup_rate_factors`. At this width
    itself the model is the standard one."""
    mup_base_head_dim: int = 0
    """With muP: size of a head at the base width; 0: as here, wider models have more heads."""
    max_length: int = 1024
    """Rows of the table of positions, and so the longest text."""
    pad_token_id: int = 50256
    """Padding; the published models have no token of its own for it."""
    eos_token_id: int = 50256
    """End of a text."""
    layout: Layout = "scanned"
    """scanned: compile time independent of depth; unrolled: XLA sees each layer (faster on CPU)."""
    share: Share = "none"
    """Parameters shared by the layers: none, attention, ffn or all."""
    remat: Remat = "none"
    """What the backward pass recomputes: none, full, dots, dots_no_batch, offload."""
    attention_implementation: Implementation = "auto"
    """auto, reference, xla, cudnn or splash."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of the computation; parameters, softmax, norms and loss stay in float32."""

    def __post_init__(self) -> None:
        sizes = ("vocab_size", "hidden_size", "num_layers", "num_heads", "intermediate_size")
        for name in (*sizes, "max_length", *(("head_dim",) if self.head_dim is not None else ())):
            if getattr(self, name) < 1:
                raise InputError(f"model.{name} is {getattr(self, name)}; it must be at least 1")
        if self.head_dim is None and self.hidden_size % self.num_heads:
            raise InputError(
                f"model.hidden_size {self.hidden_size} does not divide into "
                f"model.num_heads {self.num_heads}; give model.head_dim, or change one of them"
            )
        for name in ("pad_token_id", "eos_token_id"):
            if not 0 <= getattr(self, name) < self.vocab_size:
                raise InputError(
                    f"model.{name} is {getattr(self, name)}; it must be in the vocabulary of "
                    f"{self.vocab_size}"
                )
        for name in ("mup_base_width", "mup_base_head_dim"):
            if getattr(self, name) < 0:
                raise InputError(f"model.{name} is {getattr(self, name)}; it must be 0 or more")
        activation(self.activation)

    @property
    def width_of_heads(self) -> int:
        """Size of a head, given or derived."""
        return self.head_dim or self.hidden_size // self.num_heads

    @property
    def base_ratio(self) -> float:
        """MuP's base width over this one; 1 without muP."""
        return self.mup_base_width / self.hidden_size if self.mup_base_width else 1.0

    @property
    def attention_scale(self) -> float | None:
        """1/√K (None: the default); in muP √K_base/K, for queries and keys grow aligned."""
        base = self.mup_base_head_dim if self.mup_base_width else 0
        K = self.width_of_heads
        return (base / K) ** 0.5 * K**-0.5 if base else None

    @property
    def mup_rate_factors(self) -> tuple[tuple[str, float], ...]:
        """For `Optimizer.rate_factors` under Adam: hidden matrices learn at base over width.

        Empty without muP. Vectors, embeddings and positions keep their rate (table 8).
        """
        return ((HIDDEN_MATRICES, self.base_ratio),) if self.mup_base_width else ()

    def build(self, task: str = "causal_lm") -> "GPT":
        """The module.

        Raises:
            InputError: a task other than "causal_lm" (or "base", the same).
        """
        if task not in TASKS:
            raise unknown_name("task", task, TASKS)
        return GPT(self)

    def forward_flops(
        self, shapes: Shapes, *, masked: bool = False, task: str = "causal_lm"
    ) -> dict[str, float]:
        """FLOPs of a forward pass by part, in the conventions of `flaxformers_edu.flops`.

        Args:
            shapes: that of "input_ids"; others are not looked at.
            masked: count pairs that the causal mask hides, too.
            task: of no account; both are the same model.
        """
        B, T = shapes["input_ids"]
        D, F, L = self.hidden_size, self.intermediate_size, self.num_layers
        attention = flops.attention(
            *(B, T, T),
            hidden_size=D,
            num_heads=self.num_heads,
            head_dim=self.head_dim,
            causal=True,
            masked=masked,
        )
        return {
            **flops.within("decoder/attention", attention, L),
            "decoder/mlp": L * flops.feed_forward(B * T, D, F),
            "output": flops.linear(B * T, D, self.vocab_size),
        }


TASKS = ("base", "causal_lm")
HIDDEN_MATRICES = r"^decoder/.*kernel$"
"""Both sides of these grow with the width."""


def _sized(hidden_size: int, num_layers: int, num_heads: int, **fields: Any) -> GPTConfig:
    return GPTConfig(
        hidden_size=hidden_size,
        num_layers=num_layers,
        num_heads=num_heads,
        intermediate_size=4 * hidden_size,
        **fields,
    )


# Twice the context; the only regularisation that the paper names is weight decay.
_gpt3 = partial(_sized, max_length=2048, dropout=0.0, embedding_dropout=0.0, attention_dropout=0.0)

PRESETS = {
    "gpt2": GPTConfig(),
    "gpt2-medium": _sized(1024, 24, 16),
    "gpt2-large": _sized(1280, 36, 20),
    "gpt2-xl": _sized(1600, 48, 25),
    # GPT-3, table 2.1, with dense attention in all layers. In two of its rows the heads do not add
    # up to the width: XL is printed with 24 of 128 for 2048, which would make it a model of 1.5B;
    # 13B with 40 of 128 for 5140. Here they do, as in all others, and XL has its 1.3B.
    "gpt3-small": _gpt3(768, 12, 12),
    "gpt3-medium": _gpt3(1024, 24, 16),
    "gpt3-large": _gpt3(1536, 24, 16),
    "gpt3-xl": _gpt3(2048, 24, 16),
    "gpt3-2.7b": _gpt3(2560, 32, 32),
    "gpt3-6.7b": _gpt3(4096, 32, 32),
    "gpt3-13b": _gpt3(5120, 40, 40),
    "gpt3-175b": _gpt3(12288, 96, 96),
}


def parameter_count(config: GPTConfig) -> int:
    """The number of parameters, in closed form.

    With D = hidden_size, A = num_heads · head_dim, F = intermediate_size and biases everywhere:
    attention has 4DA + 3A + D, the feed-forward network 2DF + F + D, each with a layer norm of 2D.
    The table of tokens serves input and output; beside it stand positions and a final norm.
    """
    D, F, L = config.hidden_size, config.intermediate_size, config.num_layers
    A = config.num_heads * config.width_of_heads
    attention, mlp, norm = 4 * D * A + 3 * A + D, 2 * D * F + F + D, 2 * D
    copies_of_attention = 1 if config.share in ("attention", "all") else L
    copies_of_mlp = 1 if config.share in ("ffn", "all") else L
    layers = copies_of_attention * (attention + norm) + copies_of_mlp * (mlp + norm)
    return layers + (config.vocab_size + config.max_length) * D + norm


@struct.dataclass
class CausalLMOutput:
    """What a decoder-only model returns."""

    logits: Float[Array, "B T V"]
    last_hidden_state: Float[Array, "B T D"]


class GPT(nn.Module):
    """Pre-norm blocks on embeddings of tokens and positions; a final norm, and tied output."""

    config: GPTConfig
    is_encoder_decoder = False

    def setup(self) -> None:
        c = self.config
        dtype = jnp.dtype(c.dtype)
        table_init = nn.initializers.normal(c.init_std)
        hidden_std = c.init_std * c.base_ratio**0.5
        hidden_init = nn.initializers.normal(hidden_std)
        output_init = nn.initializers.normal(hidden_std * (2 * c.num_layers) ** -0.5)
        attention = partial(
            MultiHeadAttention,
            num_heads=c.num_heads,
            hidden_size=c.hidden_size,
            head_dim=c.head_dim,
            scale=c.attention_scale,
            dropout_rate=c.attention_dropout,
            implementation=c.attention_implementation,
            kernel_init=hidden_init,
            output_init=output_init,
            dtype=dtype,
        )
        mlp = partial(
            FeedForward,
            hidden_size=c.hidden_size,
            intermediate_size=c.intermediate_size,
            activation=c.activation,
            kernel_init=hidden_init,
            output_init=output_init,
            dtype=dtype,
        )
        norm = partial(LayerNorm, epsilon=c.norm_epsilon, dtype=dtype)
        block = partial(Block, attention, mlp, norm, norm_position="pre", dropout_rate=c.dropout)
        self.embedding = TokenEmbedding(
            c.vocab_size, c.hidden_size, embedding_init=table_init, dtype=dtype
        )
        self.positions = LearnedPositions(
            c.max_length, c.hidden_size, embedding_init=table_init, dtype=dtype
        )
        self.decoder = Stack(block, c.num_layers, layout=c.layout, share=c.share, remat=c.remat)
        self.norm = norm()
        self.dropout = Dropout(c.embedding_dropout)

    @staticmethod
    def dummy_inputs() -> dict[str, Array]:
        """The smallest inputs that initialise every parameter."""
        return {"input_ids": jnp.zeros((1, 1), jnp.int32)}

    def __call__(
        self,
        input_ids: Ids,
        attention_mask: Ids | None = None,
        *,
        segment_ids: Ids | None = None,
        positions: Ids | None = None,
        deterministic: bool = True,
    ) -> CausalLMOutput:
        """Logits of the next token at every position.

        The mask is 1 for real tokens and 0 for padding, on either side: positions count the real
        tokens. Packed rows give `segment_ids` (0: padding) and `positions` instead.
        """
        mask = Mask.padding(attention_mask, causal=True)
        if segment_ids is not None:
            mask = Mask.packed(segment_ids, segment_ids, causal=True)
        if positions is None:
            self._check_length(input_ids.shape[1])
            if attention_mask is not None:
                positions = prompt_positions(jnp.asarray(attention_mask) != 0)
        x_BTD = self._embed(input_ids, positions, deterministic)
        x_BTD, _ = self.decoder(x_BTD, mask, deterministic=deterministic)
        x_BTD = self.norm(x_BTD)
        return CausalLMOutput(self.to_logits(x_BTD), x_BTD)

    @nn.nowrap
    def head_params(self, params: Any) -> Any:
        """The part of the parameters that `to_logits` needs."""
        return {"embedding": params["embedding"]}

    def to_logits(self, x_BTD: Float[Array, "B T D"]) -> Float[Array, "B T V"]:
        """The output layer: the embedding table again, times base over width in muP."""
        x_BTD = x_BTD * self.config.base_ratio if self.config.mup_base_width else x_BTD
        return shard(self.embedding.logits(x_BTD), ("batch", "length", "vocab"))

    @nn.nowrap
    def for_decoding(self, params: Any) -> tuple["GPT", Any]:
        """The form to decode with, see `layers_apart`."""
        return layers_apart(self, params)

    def start_cache(
        self,
        input_ids: Ids,
        attention_mask: Ids | None = None,
        *,
        num_beams: int,
        max_new_tokens: int,
    ) -> DecodeCache:
        """The cache with all of the prompt but its last token, padded on the left."""
        c = self.config
        # The very last token that is generated is never read.
        self._check_length(input_ids.shape[1] + max_new_tokens - 1)
        prompt_BP = input_ids[:, :-1]
        B, P = prompt_BP.shape
        mask_BP: Bool[Array, "B P"] = jnp.ones((B, P), bool)
        if attention_mask is not None:
            mask_BP = jnp.asarray(attention_mask)[:, :-1] != 0
        slots = num_slots(P, num_beams, max_new_tokens)
        empty = Slots.empty(B, c.num_heads, slots, c.width_of_heads, jnp.dtype(c.dtype))
        layers = empty_layers(empty, c.num_layers, stacked=c.layout == "scanned")
        if P:
            x_BPD = self._embed(prompt_BP, prompt_positions(mask_BP), deterministic=True)
            _, layers = self.decoder(x_BPD, Mask(causal=True, key_mask_BS=mask_BP), cache=layers)
        return DecodeCache.create(
            layers, prompt_mask_BP=mask_BP, num_beams=num_beams, max_new_tokens=max_new_tokens
        )

    def decode_step(
        self, tokens_BN: Int[Array, "B N"], cache: DecodeCache
    ) -> tuple[Float[Array, "B N V"], DecodeCache]:
        """Logits after the newest token of each hypothesis, and the cache with that token in it."""
        cache = cache.extend()
        x_BND = self._embed(tokens_BN, cache.positions(), deterministic=True)
        x_BND, layers = self.decoder(x_BND, cache.mask(), cache=cache.layers, slot=cache.next_slot)
        return self.to_logits(self.norm(x_BND)), cache.advance(layers)

    def _check_length(self, length: int) -> None:
        if length > self.config.max_length:
            raise InputError(
                f"{length} positions are more than model.max_length={self.config.max_length}"
            )

    def _embed(
        self,
        input_ids: Ids,
        positions: Int[Array | np.ndarray, "#B T"] | None,
        deterministic: bool,
    ) -> Float[Array, "B T D"]:
        T = input_ids.shape[1]
        positions_BT = jnp.arange(T)[None] if positions is None else jnp.asarray(positions)
        x_BTD = self.embedding(jnp.asarray(input_ids)) + self.positions(positions_BT)
        x_BTD = self.dropout(x_BTD, deterministic=deterministic)
        return shard(x_BTD, ("batch", "residual", "embed"))
