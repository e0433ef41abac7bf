"""A tag for each word of a sentence: named entities.

Examples have "words", and as many "tags" where they are known.

Dims: B rows, T length, C tags.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from flaxformers_edu.errors import InputError
from flaxformers_edu.metrics.entities import OUTSIDE, entity_scores
from flaxformers_edu.objectives.base import JudgedByScore
from flaxformers_edu.objectives.losses import Loss, cross_entropy
from flaxformers_edu.objectives.rows import (
    EncodedRows,
    Row,
    as_row,
    check_fits,
    check_labels,
    collate_rows,
    field_of,
    forward,
    label_index,
    named,
    room_for_text,
    text_begins_at,
)
from flaxformers_edu.text.batching import IGNORED_LABEL, pad_sequences
from flaxformers_edu.text.tokenizer import Tokenizer

NO_PIECE = -1


@dataclasses.dataclass(frozen=True)
class Tagging(JudgedByScore):
    """Cross-entropy of the tag at each word's first piece (Devlin et al. 2019, section 5.3).

    Words whose pieces are all beyond the maximum length, or that have none (the tokeniser drops
    some control characters), are not learned from; the prediction for them is O.
    """

    labels: tuple[str, ...] = (OUTSIDE, "B", "I")
    """The tags, in the order of the model's outputs, O among them."""

    task = "token_classification"
    metric = "f1"

    def __post_init__(self) -> None:
        check_labels(self.labels)
        if OUTSIDE not in self.labels:
            raise InputError(f"objective.labels has no {OUTSIDE!r}, the tag outside of entities")

    @property
    def num_labels(self) -> int:
        """Outputs that the model must have."""
        return len(self.labels)

    def texts(self, example: Mapping[str, Any]) -> list[str]:
        """What a tokeniser is trained on."""
        return [" ".join(words_of(example))]

    def labelled(self, example: Mapping[str, Any]) -> bool:
        """Whether the example says what is right."""
        return example.get("tags") is not None

    def encode(
        self, example: Mapping[str, Any], tokenizer: Tokenizer, *, max_length: int
    ) -> dict[str, list[Any]]:
        """The words joined by spaces, cut to max_length pieces, and a label for each piece.

        `labels` has the tag's index at the first piece of each word and -100 elsewhere; `words`
        says for each word where in the row that piece is, -1 where there is none.

        Raises:
            InputError: there are no words, one of them is no text, the tags are not as many as
                the words, or a tag is not in the set.
        """
        words = words_of(example)
        known = self.labelled(example)
        indices = self._indices(example) if known else [IGNORED_LABEL] * len(words)
        if len(indices) != len(words):
            raise InputError(f"{named(example)}{len(words)} words but {len(indices)} tags")

        pieces = tokenizer.pieces(" ".join(words))
        room = room_for_text(tokenizer, max_length, pair=False)
        row = as_row(tokenizer, pieces.ids[:room])
        offset = text_begins_at(tokenizer)
        labels = [IGNORED_LABEL] * len(row["input_ids"])
        places = [NO_PIECE] * len(words)
        ends = np.cumsum([len(word) + 1 for word in words])  # each with the space behind it
        for piece, (start, end) in enumerate(pieces.spans[:room]):
            word = int(np.searchsorted(ends, start, side="right"))
            if start < end and places[word] == NO_PIECE:
                places[word] = offset + piece
                labels[offset + piece] = indices[word]
        return {**row, "labels": labels, "words": places}

    def collate(self, config: Any, *, packed: bool = False) -> Callable[..., dict]:
        """The function from encoded rows to a batch with `labels` [rows, length].

        Raises:
            InputError: the model has another number of labels, or packing is asked for.
        """
        check_fits(config, self.num_labels, packed)
        return partial(collate_tags, config=config)

    def loss(
        self, model: nn.Module, params: Any, batch: Mapping[str, Array], dropout_key: Array | None
    ) -> Loss:
        """Cross-entropy over the words; no key means no dropout."""
        return cross_entropy(forward(model, params, batch, dropout_key).logits, batch["labels"])

    def predict(
        self, model: nn.Module, params: Any, batch: Mapping[str, Array], **settings: Any
    ) -> dict[str, Array]:
        """The likeliest tag's index at each piece, [B, T]."""
        return {"tags": jnp.argmax(forward(model, params, batch, None).logits, axis=-1)}

    def outcomes(
        self,
        rows: Sequence[Mapping[str, np.ndarray]],
        encoded: EncodedRows,
        examples: Sequence[Mapping[str, Any]],
        tokenizer: Tokenizer,
    ) -> list[dict[str, Any]]:
        """For each example a tag a word."""
        return [
            {
                "tags": [
                    OUTSIDE if place == NO_PIECE else self.labels[row["tags"][place]]
                    for place in encoded[index]["words"]
                ]
            }
            for index, row in enumerate(rows)
        ]

    def score(
        self, outcomes: Sequence[Mapping[str, Any]], examples: Sequence[Mapping[str, Any]]
    ) -> dict[str, float]:
        """Precision, recall and F1 of entities, and F1 by type, as seqeval counts them."""
        overall, by_type = entity_scores(
            [[self.labels[index] for index in self._indices(example)] for example in examples],
            [found["tags"] for found in outcomes],
        )
        totals = {"precision": overall.precision, "recall": overall.recall, "f1": overall.f}
        return totals | {f"f1_{kind}": scores.f for kind, scores in by_type.items()}

    def _indices(self, example: Mapping[str, Any]) -> list[int]:
        return [label_index(example, tag, self.labels) for tag in example["tags"]]


def words_of(example: Mapping[str, Any]) -> list[str]:
    """The words of an example.

    Raises:
        InputError: there are none, or one of them is no text.
    """
    words = field_of(example, "words")
    if isinstance(words, str) or not len(words):
        raise InputError(f"{named(example)}words is {words!r}; it must be a list of words")
    for word in words:
        if not isinstance(word, str):
            raise InputError(f"{named(example)}{word!r} among the words is not a text")
    return list(words)


def collate_tags(
    examples: Sequence[Row], rows: int, length: int, *, config: Any
) -> dict[str, np.ndarray]:
    """`collate_rows` and `labels` [rows, length]: -100 at padding."""
    batch = collate_rows(examples, rows, length, config=config)
    missing: list[list[int]] = [[] for _ in range(rows - len(examples))]
    labels = [*(example["labels"] for example in examples), *missing]
    return {**batch, "labels": pad_sequences(labels, length, IGNORED_LABEL)}
