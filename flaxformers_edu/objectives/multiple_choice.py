"""Which of several texts goes with a question: each gets a score, and the softmax is over them.

Examples have "question", "choices" and, where it is known, "label".

Dims: B rows, C choices, T length.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from flaxformers_edu.errors import InputError
from flaxformers_edu.metrics.glue import score
from flaxformers_edu.objectives.base import OneLabel
from flaxformers_edu.objectives.rows import (
    EncodedRows,
    Row,
    check_unpacked,
    encode_texts,
    field_of,
    label_of,
    named,
    numbers,
    text_of,
)
from flaxformers_edu.objectives.several_texts import collate_several, side_by_side
from flaxformers_edu.text.batching import IGNORED_LABEL
from flaxformers_edu.text.tokenizer import Tokenizer


@dataclasses.dataclass(frozen=True)
class MultipleChoice(OneLabel):
    """Cross-entropy over the scores of the choices (Devlin et al. 2019, section 4.4)."""

    labels: tuple[str, ...] = ("A", "B", "C", "D", "E")
    """What the choices are called, in their order. Data may give the number, from 0."""
    blank: str = ""
    """Where a question has this, once, a choice fills it: the text before it is the first of the
    pair, the choice and what follows the second ("_" in WinoGrande). Empty: never."""

    task = "multiple_choice"
    metric = "accuracy"

    def texts(self, example: Mapping[str, Any]) -> list[str]:
        """What a tokeniser is trained on."""
        return [text_of(example, "question"), *self._choices(example)]

    def _choices(self, example: Mapping[str, Any]) -> list[str]:
        choices = field_of(example, "choices")
        if isinstance(choices, str) or not all(isinstance(choice, str) for choice in choices):
            raise InputError(f"{named(example)}choices is {choices!r}; it must be a list of texts")
        if len(choices) != len(self.labels):
            raise InputError(
                f"{named(example)}{len(choices)} choices, but objective.labels has "
                f"{len(self.labels)}: {', '.join(self.labels)}"
            )
        return list(choices)

    def encode(
        self, example: Mapping[str, Any], tokenizer: Tokenizer, *, max_length: int
    ) -> dict[str, list[int]]:
        """The pair of the question and each choice, cut to max_length, one after another.

        See `side_by_side`.

        Raises:
            InputError: a field is missing, there are more or fewer choices than labels, the label
                is not in the set, or a blank is not there once.
        """
        question, after = text_of(example, "question"), ""
        if self.blank:
            if question.count(self.blank) != 1:
                raise InputError(
                    f"{named(example)}the question has {self.blank!r} "
                    f"{question.count(self.blank)} times, not once: {question!r}"
                )
            question, _, after = question.partition(self.blank)
        rows = [
            encode_texts(tokenizer, question, choice + after, max_length=max_length)
            for choice in self._choices(example)
        ]
        return {**side_by_side(rows), "labels": [label_of(example, self.labels)]}

    def collate(self, config: Any, *, packed: bool = False) -> Callable[..., dict]:
        """The function from encoded rows to a batch: ids [rows, C, length], `labels` [rows].

        Raises:
            InputError: packing is asked for.
        """
        check_unpacked(packed)
        return partial(collate_choices, config=config, num_choices=len(self.labels))

    def outcomes(
        self,
        rows: Sequence[Mapping[str, np.ndarray]],
        encoded: EncodedRows,
        examples: Sequence[Mapping[str, Any]],
        tokenizer: Tokenizer,
    ) -> list[dict[str, Any]]:
        """For each example the choice, as label and as text, and the probability of each."""
        found = []
        for row, example in zip(rows, examples, strict=True):
            best = int(row["probabilities"].argmax())
            found.append(
                {
                    "label": self.labels[best],
                    "choice": self._choices(example)[best],
                    "probabilities": row["probabilities"].tolist(),
                }
            )
        return found

    def score(
        self, outcomes: Sequence[Mapping[str, Any]], examples: Sequence[Mapping[str, Any]]
    ) -> dict[str, float]:
        """Accuracy."""
        return score(*self.compared(outcomes, examples), (self.metric,))


def collate_choices(
    examples: Sequence[Row], rows: int, length: int, *, config: Any, num_choices: int
) -> dict[str, np.ndarray]:
    """`collate_several` of the choices, and `labels` [rows]: -100 for empty rows."""
    batch = collate_several(examples, rows, length, config=config, num_texts=num_choices)
    return {**batch, "labels": numbers(examples, "labels", rows, IGNORED_LABEL)}
