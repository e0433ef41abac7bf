"""GPT-1 (Radford et al. 2018, "Improving language understanding by generative pre-training").

The decoder of the Transformer without a source: norms after each residual, none at the end, a table
of 512 learned positions, and GELU in its tanh form (section 4.1, "model specifications").
"""

import dataclasses
from typing import Literal

from flaxformers_edu.models.decoder import Decoder
from flaxformers_edu.models.decoder_config import TASKS, DecoderConfig

__all__ = ["PRESETS", "TASKS", "GPT1Config"]


@dataclasses.dataclass(frozen=True)
class GPT1Config(DecoderConfig):
    """The defaults are the published model's."""

    vocab_size: int = 40478
    """40,000 merges, the characters that they begin from, and an unknown one."""
    norm_position: Literal["pre", "post"] = "post"
    """post: after each residual, as in the first Transformer; pre: before each sublayer."""
    scale_residual_init: bool = False
    """Whether what writes to the residual begins smaller, as in GPT-2."""
    max_length: int = 512
    """Rows of the table of positions, and so the longest text."""
    pad_token_id: int = 40477
    """Padding; the published model has no token of its own for it."""
    eos_token_id: int = 40477
    """End of a text; the published model has none, and this is the end of a line."""

    def build(self, task: str = "causal_lm") -> Decoder:
        self.check_task(task)
        return Decoder(self, task)


PRESETS = {"gpt1": GPT1Config()}
