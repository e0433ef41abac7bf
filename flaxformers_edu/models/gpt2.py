"""GPT-2 (Radford et al. 2019, "Language models are unsupervised multitask learners").

GPT-1 with its norms moved to the inputs of the sublayers, one more after the last layer, and
weights that begin smaller where they write to the residual (section 2.3).
"""

import dataclasses
from typing import Any

from flaxformers_edu.models.decoder import Decoder
from flaxformers_edu.models.decoder_config import TASKS, DecoderConfig

__all__ = ["PRESETS", "TASKS", "GPTConfig", "sized"]


@dataclasses.dataclass(frozen=True)
class GPTConfig(DecoderConfig):
    """GPT-2, and GPT-3 with other sizes; the defaults are the smallest GPT-2's."""

    def build(self, task: str = "causal_lm") -> Decoder:
        self.check_task(task)
        return Decoder(self, task)


def sized(hidden_size: int, num_layers: int, num_heads: int, **fields: Any) -> GPTConfig:
    """With 4 times the width inside the feed-forward network."""
    return GPTConfig(
        hidden_size=hidden_size,
        num_layers=num_layers,
        num_heads=num_heads,
        intermediate_size=4 * hidden_size,
        **fields,
    )


PRESETS = {
    "gpt2": GPTConfig(),
    "gpt2-medium": sized(1024, 24, 16),
    "gpt2-large": sized(1280, 36, 20),
    "gpt2-xl": sized(1600, 48, 25),
    "distilgpt2": sized(768, 6, 12),  # Sanh et al. 2019, as they distilled BERT
}
