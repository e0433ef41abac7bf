"""BERT (Devlin et al. 2018, arXiv 1810.04805), and its small sizes (Turc et al. 2019, 1908.08962).

The encoder of the Transformer on the sum of three embeddings, of token, position and sentence. It
is pre-trained on two tasks at once: to fill in masked tokens, with the table of the tokens as its
output layer, and to say whether the second sentence is the one that follows the first.

Dims: B batch, T length, P predicted places, D hidden size, V vocabulary.
"""

import dataclasses
from functools import partial
from typing import ClassVar

from flax import struct
from jaxtyping import Array, Float

from flaxformers_edu import flops
from flaxformers_edu.layers.heads import Classifier
from flaxformers_edu.models.encoder import Encoder, Places
from flaxformers_edu.models.encoder_config import TASKS as COMMON_TASKS
from flaxformers_edu.models.encoder_config import EncoderConfig

TASKS = (*COMMON_TASKS, "pretraining")


@dataclasses.dataclass(frozen=True)
class BertConfig(EncoderConfig):
    """The defaults are BERT-base, uncased."""

    tasks: ClassVar[tuple[str, ...]] = TASKS
    pooled_tasks: ClassVar[tuple[str, ...]] = (*EncoderConfig.pooled_tasks, "pretraining")

    def build(self, task: str = "base") -> "Bert":
        self.check_task(task)
        return Bert(self, task)

    def head_flops(self, task: str, rows: int, tokens: int, places: int) -> dict[str, float]:
        if task != "pretraining":
            return super().head_flops(task, rows, tokens, places)
        sentence = {"sentence_head": flops.linear(rows, self.hidden_size, 2)}
        return super().head_flops("masked_lm", rows, tokens, places) | sentence


def _sized(num_layers: int, hidden_size: int, vocab_size: int = 30522) -> BertConfig:
    """Heads of 64, and 4 times the width inside the feed-forward network."""
    return BertConfig(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        num_layers=num_layers,
        num_heads=hidden_size // 64,
        intermediate_size=4 * hidden_size,
    )


_base, _large = partial(_sized, 12, 768), partial(_sized, 24, 1024)

PRESETS = {
    "bert-base": _base(),
    "bert-base-cased": _base(28996),
    "bert-base-multilingual-cased": _base(119547),
    "bert-large": _large(),
    "bert-large-cased": _large(28996),
    "bert-tiny": _sized(2, 128),
    "bert-mini": _sized(4, 256),
    "bert-small": _sized(4, 512),
    "bert-medium": _sized(8, 512),
}


@struct.dataclass
class BertPreTrainingOutput:
    """Logits of both tasks; of the second, 0: the sentence is next, 1: it is a random one."""

    prediction_logits: Float[Array, "B P V"]
    seq_relationship_logits: Float[Array, "B 2"]
    last_hidden_state: Float[Array, "B T D"]


class Bert(Encoder):
    """The encoder, with a second task of pre-training on the pooled first token."""

    def setup(self) -> None:
        super().setup()
        self.sentence_head = Classifier(2, **self.settings)

    def own_task(
        self, x_BTD: Float[Array, "B T D"], places_BP: Places | None, deterministic: bool
    ) -> BertPreTrainingOutput:
        """Masked language model and next sentence (section 3.1)."""
        relationship_B2 = self.sentence_head(self.sentence(x_BTD))
        return BertPreTrainingOutput(self.predict(x_BTD, places_BP), relationship_B2, x_BTD)
