"""Llama 2 and 3 (Touvron et al. 2023, arXiv 2307.09288; Grattafiori et al. 2024, 2407.21783).

The decoder as it is built since: RMS norms, rotary positions, a gated feed-forward network, heads
that share keys and values, an output layer of its own, and no biases.
"""

import dataclasses
from functools import partial
from typing import Any, Literal

from flaxformers_edu.layers.positions import RopeScaling
from flaxformers_edu.models.decoder import Decoder
from flaxformers_edu.models.decoder_config import TASKS, DecoderConfig

__all__ = ["PRESETS", "TASKS", "LlamaConfig"]


@dataclasses.dataclass(frozen=True)
class LlamaConfig(DecoderConfig):
    """The defaults are Llama 2's, of 7 billion parameters."""

    vocab_size: int = 32000
    """SentencePiece's pieces; byte-level ones from Llama 3 on."""
    hidden_size: int = 4096
    """d_model."""
    num_layers: int = 32
    """Layers."""
    num_heads: int = 32
    """Attention heads."""
    intermediate_size: int = 11008
    """d_ff, about 8/3 of hidden_size, for there are three matrices in place of two."""
    activation: str = "silu"
    """relu, gelu, gelu_tanh, quick_gelu or silu."""
    gated: bool = True
    """Whether a second way up multiplies the activation (Shazeer 2020)."""
    norm: Literal["layer", "rms"] = "rms"
    """layer: mean and variance (Ba et al. 2016); rms: the scale alone (Zhang & Sennrich 2019)."""
    positions: Literal["learned", "rotary"] = "rotary"
    """learned: a table, added to the tokens; rotary: queries and keys turn (Su et al. 2021)."""
    attention_bias: Literal["all", "output", "none"] = "none"
    """Which maps of attention have biases: all, the last one alone, or none."""
    mlp_bias: bool = False
    """Whether those of the feed-forward network have."""
    tie_embeddings: bool = False
    """Whether the output layer is the table of tokens."""
    dropout: float = 0.0
    """On what each sublayer adds to the residual."""
    embedding_dropout: float = 0.0
    """On what enters the first layer."""
    attention_dropout: float = 0.0
    """On the attention weights."""
    scale_residual_init: bool = False
    """Whether what writes to the residual begins smaller, as in GPT-2."""
    max_length: int = 4096
    """The longest text; rotary positions themselves have no end."""
    pad_token_id: int = 2
    """Padding; the published models have no token of its own for it."""
    eos_token_id: int = 2
    """End of a text."""

    def build(self, task: str = "causal_lm") -> Decoder:
        self.check_task(task)
        return Decoder(self, task)


def _sized(
    hidden_size: int, num_layers: int, num_heads: int, intermediate_size: int, **fields: Any
) -> LlamaConfig:
    return LlamaConfig(
        hidden_size=hidden_size,
        num_layers=num_layers,
        num_heads=num_heads,
        intermediate_size=intermediate_size,
        **fields,
    )


_llama3 = partial(
    _sized,
    vocab_size=128256,
    num_kv_heads=8,
    rope_theta=500000.0,
    max_length=8192,
    pad_token_id=128001,
    eos_token_id=128001,
)
# Trained on to a context 16 times as long.
_llama3_1 = partial(_llama3, max_length=131072, rope_scaling=RopeScaling(factor=8.0))
_llama3_2 = partial(
    _llama3, max_length=131072, rope_scaling=RopeScaling(factor=32.0), tie_embeddings=True
)

PRESETS = {
    "llama-2-7b": LlamaConfig(),
    "llama-2-13b": _sized(5120, 40, 40, 13824),
    "llama-2-70b": _sized(8192, 80, 64, 28672, num_kv_heads=8),
    "llama-3-8b": _llama3(4096, 32, 32, 14336),
    "llama-3-70b": _llama3(8192, 80, 64, 28672),
    "llama-3.1-8b": _llama3_1(4096, 32, 32, 14336),
    "llama-3.2-1b": _llama3_2(2048, 16, 32, 8192),
    "llama-3.2-3b": _llama3_2(3072, 28, 24, 8192),
}
