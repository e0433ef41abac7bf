"""One label, or one number, for a text or a pair of texts.

Examples have "text", "text_pair" where they are pairs, and "label" where it is known.

Dims: B rows, C classes.
"""

import dataclasses
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from flaxformers_edu.errors import InputError
from flaxformers_edu.metrics.glue import CLASSIFIER_METRICS, REGRESSION_METRICS, score
from flaxformers_edu.objectives.base import JudgedByScore, OfLogits, OneLabel
from flaxformers_edu.objectives.losses import Loss
from flaxformers_edu.objectives.rows import (
    EncodedRows,
    Row,
    check_fits,
    check_metrics,
    collate_rows,
    encode_texts,
    label_of,
    named,
    numbers,
    text_of,
)
from flaxformers_edu.text.batching import IGNORED_LABEL
from flaxformers_edu.text.tokenizer import Tokenizer


def texts_of(example: Mapping[str, Any]) -> list[str]:
    """The text, or the two texts, of an example.

    Raises:
        InputError: a field is absent, or is no text.
    """
    names = ("text", "text_pair") if "text_pair" in example else ("text",)
    return [text_of(example, name) for name in names]


@dataclasses.dataclass(frozen=True)
class OfTexts(JudgedByScore):
    """What is said of a text, or of a pair, and judged by one metric or more."""

    metrics: tuple[str, ...]
    """Of several, the mean decides which checkpoint is best."""

    task = "sequence_classification"

    @property
    def metric(self) -> str:
        """The score that chooses among checkpoints."""
        return self.metrics[0] if len(self.metrics) == 1 else "mean"

    def texts(self, example: Mapping[str, Any]) -> list[str]:
        """What a tokeniser is trained on."""
        return texts_of(example)


@dataclasses.dataclass(frozen=True)
class Classification(OfTexts, OneLabel):
    """Cross-entropy over the labels of a text or a pair (Devlin et al. 2019, section 4.1)."""

    labels: tuple[str, ...] = ("negative", "positive")
    """Names of the classes, in the order of the model's outputs. Data may give the number."""
    metrics: tuple[str, ...] = ("accuracy",)
    """What it is judged by: accuracy, f1 (of the last of two labels), macro_f1, matthews. Of
    several, the mean decides which checkpoint is best."""
    backward: bool = False
    """Texts are read from their end, for a body that has learnt language in this direction."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_metrics(self.metrics, CLASSIFIER_METRICS)
        if "f1" in self.metrics and len(self.labels) != 2:
            raise InputError(
                f"objective.metrics has f1, which is for two labels, and there are "
                f"{len(self.labels)}: take macro_f1"
            )

    @property
    def num_labels(self) -> int:
        """Outputs that the model must have."""
        return len(self.labels)

    def encode(
        self, example: Mapping[str, Any], tokenizer: Tokenizer, *, max_length: int
    ) -> dict[str, list[Any]]:
        """The text or the pair in the model's template, cut to max_length, and its label.

        Raises:
            InputError: a field is missing, or the label is not in the set.
        """
        row = encode_texts(tokenizer, *texts_of(example), max_length=max_length)
        if self.backward:
            row = {name: values[::-1] for name, values in row.items()}
        return {**row, "labels": [label_of(example, self.labels)]}

    def collate(self, config: Any, *, packed: bool = False) -> Callable[..., dict]:
        """The function from encoded rows to a batch with `labels` [rows].

        Raises:
            InputError: the model has another number of labels, or packing is asked for.
        """
        check_fits(config, self.num_labels, packed)
        return partial(collate_classes, config=config)

    def outcomes(
        self,
        rows: Sequence[Mapping[str, np.ndarray]],
        encoded: EncodedRows,
        examples: Sequence[Mapping[str, Any]],
        tokenizer: Tokenizer,
    ) -> list[dict[str, Any]]:
        """For each example the likeliest label, and the probability of each."""
        found = []
        for row in rows:
            probabilities = dict(zip(self.labels, row["probabilities"].tolist(), strict=True))
            found.append(outcome_of(probabilities))
        return found

    def averaged(self, outcomes: Sequence[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
        """What several models say together, of each example: the mean of their probabilities."""
        return [
            outcome_of(
                {
                    name: statistics.fmean(one["probabilities"][name] for one in of_example)
                    for name in self.labels
                }
            )
            for of_example in zip(*outcomes, strict=True)
        ]

    def score(
        self, outcomes: Sequence[Mapping[str, Any]], examples: Sequence[Mapping[str, Any]]
    ) -> dict[str, float]:
        """The metrics, and their mean where there are several."""
        return score(*self.compared(outcomes, examples), self.metrics)


def outcome_of(probabilities: Mapping[str, float]) -> dict[str, Any]:
    """The likeliest label, and the probability of each."""
    label = max(probabilities, key=lambda name: probabilities[name])
    return {"label": label, "probabilities": dict(probabilities)}


def collate_classes(
    examples: Sequence[Row], rows: int, length: int, *, config: Any
) -> dict[str, np.ndarray]:
    """`collate_rows` and `labels` [rows]: -100 for empty rows."""
    batch = collate_rows(examples, rows, length, config=config)
    return {**batch, "labels": numbers(examples, "labels", rows, IGNORED_LABEL)}


@dataclasses.dataclass(frozen=True)
class Regression(OfTexts, OfLogits):
    """Squared error of one number for a text or a pair: STS-B."""

    metrics: tuple[str, ...] = ("pearson", "spearman")
    """What it is judged by. Of several, the mean decides which checkpoint is best."""

    num_labels = 1

    def __post_init__(self) -> None:
        check_metrics(self.metrics, REGRESSION_METRICS)

    def labelled(self, example: Mapping[str, Any]) -> bool:
        """Whether the example says what is right."""
        return not math.isnan(self.number_of(example))

    def number_of(self, example: Mapping[str, Any]) -> float:
        """The example's "label"; NaN where it is not known. Raises InputError for no number."""
        label = example.get("label")
        if label is None:
            return math.nan
        try:
            number = float(label)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise InputError(f"{named(example)}label {label!r} is not a number")
        return number

    def encode(
        self, example: Mapping[str, Any], tokenizer: Tokenizer, *, max_length: int
    ) -> dict[str, list[int] | list[float]]:
        """The text or the pair in the model's template, cut to max_length, and its number.

        Raises:
            InputError: a field is missing, or the label is no number.
        """
        row = encode_texts(tokenizer, *texts_of(example), max_length=max_length)
        return {**row, "labels": [self.number_of(example)]}

    def collate(self, config: Any, *, packed: bool = False) -> Callable[..., dict]:
        """The function from encoded rows to a batch with `labels` [rows], float32.

        Raises:
            InputError: the model has more than one output, or packing is asked for.
        """
        check_fits(config, self.num_labels, packed)
        return partial(collate_numbers, config=config)

    def loss_of(self, logits: Array, labels_B: Array) -> Loss:
        """Squared error, in float32; rows without a number (NaN) count nothing."""
        known_B = ~jnp.isnan(labels_B)
        # Chosen before the difference: a NaN that is masked afterwards still spoils gradients.
        wanted_B = jnp.where(known_B, labels_B, 0.0)
        errors_B = jnp.where(known_B, logits[:, 0].astype(jnp.float32) - wanted_B, 0.0)
        return Loss(sum=(errors_B**2).sum(), weight=known_B.sum(dtype=jnp.float32), counts={})

    def said(self, logits: Array) -> dict[str, Array]:
        """The number of each row, [B, 1]."""
        return {"values": logits.astype(jnp.float32)}

    def outcomes(
        self,
        rows: Sequence[Mapping[str, np.ndarray]],
        encoded: EncodedRows,
        examples: Sequence[Mapping[str, Any]],
        tokenizer: Tokenizer,
    ) -> list[dict[str, Any]]:
        """For each example its number."""
        return [{"value": float(row["values"][0])} for row in rows]

    def score(
        self, outcomes: Sequence[Mapping[str, Any]], examples: Sequence[Mapping[str, Any]]
    ) -> dict[str, float]:
        """The metrics, and their mean where there are several."""
        labels = [self.number_of(example) for example in examples]
        return score(labels, [outcome["value"] for outcome in outcomes], self.metrics)


def collate_numbers(
    examples: Sequence[Row], rows: int, length: int, *, config: Any
) -> dict[str, np.ndarray]:
    """`collate_rows` and `labels` [rows], float32: NaN for empty rows."""
    batch = collate_rows(examples, rows, length, config=config)
    return {**batch, "labels": numbers(examples, "labels", rows, math.nan)}
