"""The answer to a question as a span of a text, which may be longer than the model reads at once.

Examples have "question", "context" and, where they are known, "answers" (texts) and
"answer_starts" (the characters of the context at which they begin), both empty where the context
does not answer the question.

Dims: B rows, T length.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from flaxformers_edu.errors import InputError
from flaxformers_edu.metrics.squad import best_thresholds, squad_scores
from flaxformers_edu.objectives.base import JudgedByScore
from flaxformers_edu.objectives.losses import Loss, cross_entropy
from flaxformers_edu.objectives.rows import (
    EncodedRows,
    Row,
    as_row,
    check_unpacked,
    collate_rows,
    field_of,
    forward,
    named,
    numbers,
    room_for_text,
    text_begins_at,
    text_of,
)
from flaxformers_edu.objectives.spans import Span, best_spans, most_context, pieces_of, windows
from flaxformers_edu.text.batching import IGNORED_LABEL
from flaxformers_edu.text.tokenizer import Tokenizer

NO_ANSWER = 0  # the place of [CLS]


@dataclasses.dataclass(frozen=True)
class QuestionAnswering(JudgedByScore):
    """Mean cross-entropy of where the answer starts and ends (Devlin et al. 2019, section 4.2).

    A context that is too long becomes several rows, overlapping windows of it. A window without
    the answer has the first token, [CLS], as its span, and so has a question without an answer
    (section 4.3).
    """

    stride: int = 128
    """Pieces of the context from the start of a window to the start of the next."""
    max_question_length: int = 64
    """Pieces of a question that are kept."""
    max_answer_length: int = 30
    """Most pieces of an answer."""
    num_best: int = 20
    """Candidates of a window, and of a context, that are looked at."""
    unanswerable: bool = False
    """Whether some questions have no answer in their context (SQuAD v2.0)."""
    threshold: float = 0.0
    """Where some have none: how much more than the best span [CLS] must score to answer nothing."""

    task = "question_answering"
    metric = "f1"

    def __post_init__(self) -> None:
        for field in ("stride", "max_question_length", "max_answer_length", "num_best"):
            if getattr(self, field) < 1:
                raise InputError(
                    f"objective.{field} is {getattr(self, field)}; it must be at least 1"
                )

    def texts(self, example: Mapping[str, Any]) -> list[str]:
        """What a tokeniser is trained on."""
        return [text_of(example, "question"), text_of(example, "context")]

    def labelled(self, example: Mapping[str, Any]) -> bool:
        """Whether the example says what is right."""
        return example.get("answers") is not None

    def encode(
        self, example: Mapping[str, Any], tokenizer: Tokenizer, *, max_length: int
    ) -> list[dict[str, list[int]]]:
        """A row for each window: the question, and as much of the context as fits.

        `start_positions` and `end_positions` are the places of the first answer's first and last
        piece; `context_begins` is where the context begins in the row, and `span_starts` and
        `span_ends` are the characters of the context that each of its pieces there covers, and
        `most_context` is 1 for those that have more of it around them than in any other window.

        Raises:
            InputError: a field is missing, an answer is not in the context where it should be,
                there is none and `unanswerable` is not set, or no room is left for the context.
        """
        question, context = text_of(example, "question"), text_of(example, "context")
        question_ids = tokenizer.pieces(question).ids[: self.max_question_length]
        pieces = tokenizer.pieces(context)
        room = room_for_text(tokenizer, max_length, pair=True) - len(question_ids)
        if room < 1:
            raise InputError(
                f"{named(example)}the question's {len(question_ids)} tokens leave no room for the "
                f"context in {max_length}: raise batching.max_source_length"
            )
        begins = text_begins_at(tokenizer, len(question_ids))
        known = self.labelled(example)
        answer = self._answer(example, context) if known else None
        answer_pieces = None if answer is None else pieces_of(answer, pieces.spans)
        rows = []
        starts = windows(len(pieces.ids), room, self.stride)
        most = most_context(starts, room, len(pieces.ids))
        for start, has_most in zip(starts, most, strict=True):
            spans = pieces.spans[start : start + room]
            places = (IGNORED_LABEL, IGNORED_LABEL)
            if known:
                places = _places(answer_pieces, start, len(spans), begins)
            rows.append(
                {
                    **as_row(tokenizer, question_ids, pieces.ids[start : start + room]),
                    "start_positions": [places[0]],
                    "end_positions": [places[1]],
                    "context_begins": [begins],
                    "span_starts": [span_start for span_start, _ in spans],
                    "span_ends": [span_end for _, span_end in spans],
                    "most_context": has_most.astype(int).tolist(),
                }
            )
        if rows[0]["input_ids"][NO_ANSWER] != tokenizer.cls_token_id:
            raise InputError("question answering needs a tokeniser whose rows begin with [CLS]")
        return rows

    def _answer(self, example: Mapping[str, Any], context: str) -> Span | None:
        """Where the first answer is, all of them checked; None where there is none."""
        answers, starts = list(example["answers"]), list(field_of(example, "answer_starts"))
        if len(answers) != len(starts):
            raise InputError(f"{named(example)}{len(answers)} answers but {len(starts)} starts")
        if not answers and not self.unanswerable:
            raise InputError(
                f"{named(example)}there is no answer; set objective.unanswerable where that may be"
            )
        for answer, start in zip(answers, starts, strict=True):
            found = context[start : start + len(answer)] if start >= 0 else ""
            if not answer or found != answer:
                raise InputError(
                    f"{named(example)}the answer {answer!r} should be at character {start} of the "
                    f"context, but {found!r} is there"
                )
        return Span(starts[0], starts[0] + len(answers[0])) if answers else None

    def collate(self, config: Any, *, packed: bool = False) -> Callable[..., dict]:
        """The function from encoded rows to a batch with start and end positions, [rows] each.

        Raises:
            InputError: packing is asked for.
        """
        check_unpacked(packed)
        return partial(collate_spans, config=config)

    def loss(
        self, model: nn.Module, params: Any, batch: Mapping[str, Array], dropout_key: Array | None
    ) -> Loss:
        """Mean of the two cross-entropies; no key means no dropout."""
        output = forward(model, params, batch, dropout_key)
        starts = place_loss(output.start_logits, batch["start_positions"])
        ends = place_loss(output.end_logits, batch["end_positions"])
        both = starts + ends
        return Loss(
            sum=both.sum / 2,
            weight=starts.weight,
            counts={"accuracy": both.counts["accuracy"] / 2},
        )

    def predict(
        self, model: nn.Module, params: Any, batch: Mapping[str, Array], **settings: Any
    ) -> dict[str, Array]:
        """The logits of where an answer starts and ends, [B, T] each."""
        output = forward(model, params, batch, None)
        return {
            "start_logits": output.start_logits.astype(jnp.float32),
            "end_logits": output.end_logits.astype(jnp.float32),
        }

    def outcomes(
        self,
        rows: Sequence[Mapping[str, np.ndarray]],
        encoded: EncodedRows,
        examples: Sequence[Mapping[str, Any]],
        tokenizer: Tokenizer,
    ) -> list[dict[str, Any]]:
        """For each example the answer, where it is, and the best candidates of all its windows.

        Where `unanswerable` is set also `best_answer`, as if there were one, and
        `no_answer_score`: the least that [CLS] scores in a window, less the best span's score.
        The answer is empty where that is above the threshold.
        """
        candidates: list[dict[Span, float]] = [{} for _ in examples]
        null_scores = [np.inf] * len(examples)
        for index, row in enumerate(rows):
            origin = int(encoded.origins[index])
            found = best_spans(
                row["start_logits"],
                row["end_logits"],
                encoded[index],
                num_best=self.num_best,
                max_pieces=self.max_answer_length,
            )
            for span, score in found.items():
                candidates[origin][span] = max(score, candidates[origin].get(span, score))
            null = float(row["start_logits"][NO_ANSWER] + row["end_logits"][NO_ANSWER])
            null_scores[origin] = min(null_scores[origin], null)
        return [
            self._outcome(*of_one) for of_one in zip(examples, candidates, null_scores, strict=True)
        ]

    def _outcome(
        self, example: Mapping[str, Any], candidates: Mapping[Span, float], null_score: float
    ) -> dict[str, Any]:
        ranked = sorted(candidates.items(), key=lambda item: -item[1])[: self.num_best]
        (start, end), best = ranked[0] if ranked else (Span(0, 0), null_score)
        answer = example["context"][start:end]
        outcome = {
            "answer": answer,
            "start": start,
            "end": end,
            "candidates": [
                {"answer": example["context"][span.start : span.end], "score": score}
                for span, score in ranked
            ],
        }
        if not self.unanswerable:
            return outcome
        outcome |= {"best_answer": answer, "no_answer_score": null_score - best}
        if null_score - best > self.threshold:
            outcome |= {"answer": "", "start": 0, "end": 0}
        return outcome

    def score(
        self, outcomes: Sequence[Mapping[str, Any]], examples: Sequence[Mapping[str, Any]]
    ) -> dict[str, float]:
        """The official scores in percent; with `unanswerable` also those of the best threshold."""
        truths = [list(example["answers"]) for example in examples]
        found = squad_scores([outcome["answer"] for outcome in outcomes], truths)
        if not self.unanswerable:
            return found
        return found | best_thresholds(
            [outcome["best_answer"] for outcome in outcomes],
            truths,
            [outcome["no_answer_score"] for outcome in outcomes],
        )


def _places(
    answer: tuple[int, int] | None, start: int, number: int, begins: int
) -> tuple[int, int]:
    """The answer's first and last place in the row of the window of pieces from `start` on."""
    if answer is None or answer[0] < start or answer[1] >= start + number:
        return NO_ANSWER, NO_ANSWER
    return begins + answer[0] - start, begins + answer[1] - start


def place_loss(logits_BT: Float[Array, "B T"], places_B: Int[Array, " B"]) -> Loss:
    """Cross-entropy over the places of a row; those outside of it, such as -100, count nothing."""
    inside_B = (places_B >= 0) & (places_B < logits_BT.shape[1])
    labels_B = jnp.where(inside_B, places_B, IGNORED_LABEL)
    return cross_entropy(logits_BT[:, None, :], labels_B[:, None])


def collate_spans(
    examples: Sequence[Row], rows: int, length: int, *, config: Any
) -> dict[str, np.ndarray]:
    """`collate_rows`, `start_positions` and `end_positions` [rows]: -100 for empty rows."""
    batch = collate_rows(examples, rows, length, config=config)
    for name in ("start_positions", "end_positions"):
        batch[name] = numbers(examples, name, rows, IGNORED_LABEL)
    return batch
