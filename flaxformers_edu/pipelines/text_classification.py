"""The label, or the number, of a text or a pair of texts."""

from collections.abc import Sequence
from typing import Any

from flaxformers_edu.objectives import Classification, Regression
from flaxformers_edu.pipelines.base import Pipeline


class TextClassification(Pipeline):
    """Texts, or {"text", "text_pair"}: the likeliest label and its probability, {label, score}.

    A model with one output is a regression: {value}.
    """

    model_task = "sequence_classification"

    def answers(self, inputs: Sequence[Any], *, top_k: int | None = 1) -> list[Any]:
        """A label a text; with `top_k` other than 1 a list of so many, None: of all."""
        examples = [{"text": one} if isinstance(one, str) else one for one in inputs]
        if self.pretrained.config.num_labels == 1:
            return self.by_objective(Regression(), examples)
        found = []
        for outcome in self.by_objective(Classification(labels=self.labels), examples):
            ranked = sorted(outcome["probabilities"].items(), key=lambda item: -item[1])
            listed = [{"label": label, "score": score} for label, score in ranked[:top_k]]
            found.append(listed[0] if top_k == 1 else listed)
        return found
