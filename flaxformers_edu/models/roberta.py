"""RoBERTa (Liu et al. 2019, arXiv 1907.11692): BERT, trained for longer on the masked words alone.

No second sentence to predict, so that all tokens are of one type; byte-level pieces; and positions
that count the tokens before, from the first row after that of padding.

Dims: B batch, T length.
"""

import dataclasses
from typing import ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Int

from flaxformers_edu.layers.heads import TwoLayerClassifier
from flaxformers_edu.models.encoder import Encoder
from flaxformers_edu.models.encoder_config import TASKS, EncoderConfig

__all__ = ["PRESETS", "TASKS", "Roberta", "RobertaConfig"]


@dataclasses.dataclass(frozen=True)
class RobertaConfig(EncoderConfig):
    """The defaults are RoBERTa-base."""

    vocab_size: int = 50265
    """Byte-level pieces (section 4.4)."""
    num_token_types: int = 1
    """All tokens are of one type."""
    norm_epsilon: float = 1e-5
    """Added to the variance in layer norms."""
    pad_token_id: int = 1
    """Padding."""
    eos_token_id: int = 2
    """The end of a text."""
    mask_token_id: int = 50264
    """<mask>, the last of the vocabulary."""

    pooled_tasks: ClassVar[tuple[str, ...]] = ("base", "multiple_choice")
    two_layer_tasks: ClassVar[tuple[str, ...]] = ("sequence_classification",)

    @property
    def position_offset(self) -> int:
        """The row of padding, and those before it."""
        return self.pad_token_id + 1

    @property
    def mlm_activation(self) -> str:
        """The head has this one, whatever the layers have, as in transformers."""
        return "gelu"

    def build(self, task: str = "base") -> "Roberta":
        self.check_task(task)
        return Roberta(self, task)


PRESETS = {
    "roberta-base": RobertaConfig(),
    "roberta-large": RobertaConfig(
        hidden_size=1024, num_layers=24, num_heads=16, intermediate_size=4096
    ),
}


class Roberta(Encoder):
    """The encoder, with positions that skip padding."""

    @nn.nowrap
    def default_positions(self, input_ids: Int[Array, "B T"]) -> Int[Array, "B T"]:
        """Real tokens count up from 0; padding, by its id, has the row before."""
        real_BT = (input_ids != self.config.pad_token_id).astype(jnp.int32)
        return jnp.cumsum(real_BT, axis=1) * real_BT - 1

    @nn.nowrap
    def make_classifier(self) -> nn.Module:
        """Of texts with a layer between, that takes the place of the pooler."""
        c = self.config
        if self.task not in c.two_layer_tasks:
            return super().make_classifier()
        rate = c.dropout_of_classifier
        return TwoLayerClassifier(
            c.hidden_size, self.num_logits, "tanh", rate, rate, **self.settings
        )
