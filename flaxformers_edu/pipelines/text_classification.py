"""The label, or the number, of a text or a pair of texts."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from flaxformers_edu.objectives import Classification, Regression
from flaxformers_edu.pipelines.base import Pipeline

SEVERAL = "multi_label_classification"
"""What config.json has as its `problem_type` where labels do not exclude each other."""


class TextClassification(Pipeline):
    """Texts, or {"text", "text_pair"}: the likeliest label and its probability, {label, score}.

    A model with one output is a regression: {value}. Where config.json says that a text may have
    several labels, each has a probability of its own.
    """

    model_task = "sequence_classification"

    def answers(self, inputs: Sequence[Any], *, top_k: int | None = 1) -> list[Any]:
        """A label a text; with `top_k` other than 1 a list of so many, None: of all."""
        examples = [{"text": one} if isinstance(one, str) else one for one in inputs]
        if self.pretrained.config.num_labels == 1:
            return self.by_objective(Regression(), examples)
        several = self.pretrained.original.get("problem_type") == SEVERAL
        objective = (_Independent if several else Classification)(labels=self.labels)
        found = []
        for outcome in self.by_objective(objective, examples):
            ranked = sorted(outcome["probabilities"].items(), key=lambda item: -item[1])
            listed = [{"label": label, "score": score} for label, score in ranked[:top_k]]
            found.append(listed[0] if top_k == 1 else listed)
        return found


@dataclasses.dataclass(frozen=True)
class _Independent(Classification):
    """Labels that do not exclude each other: a yes or no to each."""

    def said(self, logits: Array) -> dict[str, Array]:
        """The probability of each label by itself, [B, C]."""
        return {"probabilities": jax.nn.sigmoid(logits.astype(jnp.float32))}
