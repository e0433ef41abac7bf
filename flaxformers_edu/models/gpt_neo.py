"""GPT-Neo (Black et al. 2021, EleutherAI): GPT-3's alternation of attentions, as it was released.

Layers see all tokens before and, in turn, the last 256 alone; queries are not scaled, and of the
maps of attention only the last has biases.
"""

import dataclasses
from typing import Literal

from flaxformers_edu.models.decoder import Decoder
from flaxformers_edu.models.decoder_config import TASKS, DecoderConfig, Span

__all__ = ["PRESETS", "TASKS", "GPTNeoConfig"]


@dataclasses.dataclass(frozen=True)
class GPTNeoConfig(DecoderConfig):
    """The defaults are those of the smallest, of 125 million parameters."""

    attention_bias: Literal["all", "output", "none"] = "output"
    """Which maps of attention have biases: all, the last one alone, or none."""
    scale_attention: bool = False
    """Whether the scores are divided by √head_dim."""
    attention_pattern: tuple[Span, ...] = ("global", "local")
    """What the layers see, in turn: global (all before) or local (a band of `window` tokens)."""
    dropout: float = 0.0
    """On what each sublayer adds to the residual."""
    embedding_dropout: float = 0.0
    """On what enters the first layer."""
    attention_dropout: float = 0.0
    """On the attention weights."""
    scale_residual_init: bool = False
    """Whether what writes to the residual begins smaller, as in GPT-2."""
    max_length: int = 2048
    """Rows of the table of positions, and so the longest text."""

    def build(self, task: str = "causal_lm") -> Decoder:
        self.check_task(task)
        return Decoder(self, task)


def _sized(hidden_size: int, num_layers: int, num_heads: int) -> GPTNeoConfig:
    return GPTNeoConfig(
        hidden_size=hidden_size,
        num_layers=num_layers,
        num_heads=num_heads,
        intermediate_size=4 * hidden_size,
    )


PRESETS = {
    "gpt-neo-125m": GPTNeoConfig(),
    "gpt-neo-1.3b": _sized(2048, 24, 16),
    "gpt-neo-2.7b": _sized(2560, 32, 20),
}
