"""DistilBERT (Sanh et al. 2019, arXiv 1910.01108): BERT with half of its layers.

"The token-type embeddings and the pooler are removed while the number of layers is reduced by a
factor of 2" (section 3), and the student begins from every second layer of its teacher.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from flaxformers_edu.errors import InputError
from flaxformers_edu.layers.heads import Classifier, TwoLayerClassifier
from flaxformers_edu.layers.stack import is_unrolled
from flaxformers_edu.models.encoder import Encoder
from flaxformers_edu.models.encoder_config import TASKS, EncoderConfig

__all__ = ["PRESETS", "RELEASED_LAYERS", "TASKS", "DistilBert", "DistilBertConfig", "from_teacher"]


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


RELEASED_LAYERS = (0, 2, 4, 7, 9, 11)
"""Those of BERT-base that the released student began from."""


def from_teacher(params: Any, layers: Sequence[int] = RELEASED_LAYERS) -> dict[str, Any]:
    """The parameters that a student begins from: some of its teacher's layers, and its embeddings.

    Args:
        params: of a teacher of the same width with layers of their own, scanned or unrolled.
        layers: which of them; the student has as many.

    Returns:
        The student's body, in the teacher's layout, with the head of the masked language model
        where the teacher has one. What the student has no place for is left out.

    Raises:
        InputError: a layer that the teacher does not have.
    """
    stack = params["encoder"]["layers"]
    unrolled = is_unrolled(stack)
    depth = len(stack) if unrolled else len(jax.tree.leaves(stack)[0])
    if not all(0 <= layer < depth for layer in layers):
        raise InputError(f"layers {list(layers)} are not all among the teacher's {depth}")
    if unrolled:
        chosen = {str(i): stack[str(layer)] for i, layer in enumerate(layers)}
    else:
        chosen = jax.tree.map(lambda p: p[jnp.array(layers)], stack)
    embeddings = {n: sub for n, sub in params["embeddings"].items() if n != "token_types"}
    head = {name: params[name] for name in ("mlm_head",) if name in params}
    return {"embeddings": embeddings, "encoder": {"layers": chosen}, **head}
