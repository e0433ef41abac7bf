"""Precision, recall and F from counts of right and wrong decisions. C classes."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from flaxformers_edu.errors import InputError, unknown_name

AVERAGES = ("binary", "micro", "macro")


@dataclass(frozen=True)
class Counts:
    """Decisions about one class: what it was given, and what it should have been given."""

    true_positives: int = 0
    false_positives: int = 0
    false_negatives: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        """Of both sets of decisions."""
        return Counts(
            self.true_positives + other.true_positives,
            self.false_positives + other.false_positives,
            self.false_negatives + other.false_negatives,
        )


@dataclass(frozen=True)
class Scores:
    """From 0 to 1; 0 where nothing was predicted (precision) or nothing was there (recall)."""

    precision: float
    recall: float
    f: float


def confusion(labels: Sequence[Hashable], predictions: Sequence[Hashable]) -> dict:
    """Counts for every class that occurs, by class.

    Raises:
        InputError: the two differ in number.
    """
    if len(labels) != len(predictions):
        raise InputError(f"{len(labels)} labels do not pair with {len(predictions)} predictions")
    counts: dict[Hashable, Counts] = {}

    def add(label: Hashable, more: Counts) -> None:
        counts[label] = counts.get(label, Counts()) + more

    for label, prediction in zip(labels, predictions, strict=True):
        if label == prediction:
            add(label, Counts(true_positives=1))
        else:
            add(label, Counts(false_negatives=1))
            add(prediction, Counts(false_positives=1))
    return counts


def scores(counts: Counts, *, beta: float = 1.0) -> Scores:
    """Precision, recall, and F = (1 + β²) P R / (β² P + R) (van Rijsbergen 1979, chapter 7).

    Raises:
        InputError: beta is not above 0.
    """
    if not beta > 0:
        raise InputError(f"beta={beta} must be above 0")
    right = counts.true_positives
    predicted = right + counts.false_positives
    actual = right + counts.false_negatives
    precision = right / predicted if predicted else 0.0
    recall = right / actual if actual else 0.0
    weighted = beta**2 * precision + recall
    return Scores(
        precision, recall, (1 + beta**2) * precision * recall / weighted if weighted else 0.0
    )


def precision_recall_f(
    labels: Sequence[Hashable],
    predictions: Sequence[Hashable],
    *,
    average: str = "macro",
    positive: Hashable = 1,
    classes: Sequence[Hashable] | None = None,
    beta: float = 1.0,
) -> Scores:
    """The three scores of a classifier.

    Args:
        labels: what is right.
        predictions: what was said.
        average: "binary": of the class `positive`; "micro": of the sum of all classes' counts;
            "macro": the mean of the classes' scores.
        positive: the class that "binary" is about.
        classes: those that "micro" and "macro" look at, such as all but "no relation"; None: every
            class that occurs. A class that never occurs counts 0 in "macro".
        beta: how many times more recall matters than precision.

    Raises:
        InputError: labels and predictions differ in number, `average` is unknown, or beta is not
            above 0.
    """
    if average not in AVERAGES:
        raise unknown_name("average", average, AVERAGES)
    counts = confusion(labels, predictions)
    if average == "binary":
        return scores(counts.get(positive, Counts()), beta=beta)
    chosen = [counts.get(c, Counts()) for c in (counts if classes is None else classes)]
    if average == "micro":
        return scores(sum(chosen, Counts()), beta=beta)
    each = [scores(c, beta=beta) for c in chosen]
    number = max(len(each), 1)
    return Scores(
        sum(s.precision for s in each) / number,
        sum(s.recall for s in each) / number,
        sum(s.f for s in each) / number,
    )
