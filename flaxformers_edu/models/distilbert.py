"""DistilBERT (Sanh et al. 2019, arXiv 1910.01108): BERT with half of its layers.

"The token-type embeddings and the pooler are removed while the number of layers is reduced by a
factor of 2" (section 3). How a student begins from layers of its teacher: models/student_layers.py.
"""

import dataclasses
from typing import ClassVar

import flax.linen as nn

from flaxformers_edu.layers.heads import Classifier, TwoLayerClassifier
from flaxformers_edu.models.encoder import Encoder
from flaxformers_edu.models.encoder_config import TASKS, EncoderConfig

__all__ = ["PRESETS", "TASKS", "DistilBert", "DistilBertConfig"]


@dataclasses.dataclass(frozen=True)
class DistilBertConfig(EncoderConfig):
    """The defaults are DistilBERT-base, uncased."""

    num_layers: int = 6
    """Layers."""
    num_token_types: int = 0
    """No kinds of tokens are told apart."""
    classifier_dropout: float | None = 0.2
    """Before a classifier of texts; None: as dropout."""

    pooled_tasks: ClassVar[tuple[str, ...]] = ()
    two_layer_tasks: ClassVar[tuple[str, ...]] = ("sequence_classification", "multiple_choice")
    drop_attention: ClassVar[bool] = False
    span_dropout: ClassVar[float] = 0.1

    def build(self, task: str = "base") -> "DistilBert":
        self.check_task(task)
        return DistilBert(self, task)


PRESETS = {"distilbert-base": DistilBertConfig()}


class DistilBert(Encoder):
    """The encoder, with classifiers that have a layer between in place of a pooler."""

    @nn.nowrap
    def make_classifier(self) -> nn.Module:
        """Of texts by a layer of ReLUs, with dropout behind it; of tokens by one linear layer."""
        c = self.config
        if self.task not in c.two_layer_tasks:
            return Classifier(self.num_logits, c.dropout, **self.settings)
        rates = (0.0, c.dropout_of_classifier)
        return TwoLayerClassifier(c.hidden_size, self.num_logits, "relu", *rates, **self.settings)
