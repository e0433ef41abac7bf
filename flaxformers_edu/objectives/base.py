"""What objectives of one kind have in common: by what they are judged, and one label an example.

Dims: B rows, C labels.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from flaxformers_edu.objectives.losses import Loss, class_loss
from flaxformers_edu.objectives.rows import check_labels, forward, label_of
from flaxformers_edu.text.batching import IGNORED_LABEL


class JudgedByLoss:
    """The model is asked nothing of single examples; the least loss is the best."""

    metric = "loss"
    higher_is_better = False
    predicts = False
    generates = False


class JudgedByScore:
    """What the model says of examples is compared with what is right; the highest is the best.

    Objectives name the score, `metric`, and bring `predict`, `outcomes` and `score`.
    """

    higher_is_better = True
    predicts = True
    generates = False

    def measures(self, means: dict[str, float]) -> dict[str, float]:
        """The loss and its counts; without the nll, which is the loss where nothing is smoothed."""
        return {name: value for name, value in means.items() if name != "nll"}


class OfLogits(JudgedByScore):
    """What a model's logits say of each row: the loss, and the predictions."""

    task: ClassVar[str]

    def logits(
        self, model: nn.Module, params: Any, batch: Mapping[str, Array], dropout_key: Array | None
    ) -> Array:
        """Of each row; no key means no dropout."""
        return forward(model, params, batch, dropout_key).logits

    def loss_of(self, logits: Array, labels_B: Array) -> Loss:
        """The loss of these logits."""
        raise NotImplementedError

    def said(self, logits: Array) -> dict[str, Array]:
        """What they predict: arrays whose first axis is the rows."""
        raise NotImplementedError

    def loss(
        self, model: nn.Module, params: Any, batch: Mapping[str, Array], dropout_key: Array | None
    ) -> Loss:
        """The loss of a batch; no key means no dropout."""
        return self.loss_of(self.logits(model, params, batch, dropout_key), batch["labels"])

    def predict(
        self, model: nn.Module, params: Any, batch: Mapping[str, Array], **settings: Any
    ) -> dict[str, Array]:
        """What the model says of each row."""
        return self.said(self.logits(model, params, batch, None))


@dataclasses.dataclass(frozen=True)
class OneLabel(OfLogits):
    """One of several labels for each example: the softmax is over its row of logits [B, C]."""

    labels: tuple[str, ...]
    """Names of the outputs, in their order. Data may give the number, from 0."""

    def __post_init__(self) -> None:
        check_labels(self.labels)

    def labelled(self, example: Mapping[str, Any]) -> bool:
        """Whether the example says what is right."""
        return label_of(example, self.labels) != IGNORED_LABEL

    def loss_of(self, logits: Array, labels_B: Array) -> Loss:
        """Cross-entropy of the right label."""
        return class_loss(logits, labels_B)

    def said(self, logits: Array) -> dict[str, Array]:
        """The probability of each label, [B, C]."""
        return {"probabilities": jax.nn.softmax(logits.astype(jnp.float32))}

    def compared(
        self, outcomes: Sequence[Mapping[str, Any]], examples: Sequence[Mapping[str, Any]]
    ) -> tuple[list[int], list[int]]:
        """Indices of the labels that are right, and of those that the outcomes name."""
        right = [label_of(example, self.labels) for example in examples]
        return right, [self.labels.index(outcome["label"]) for outcome in outcomes]
