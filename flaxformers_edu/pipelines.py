"""From texts to answers in one call: a tokeniser, a model, and what a task makes of its outputs.

>>> fill = pipeline("fill-mask", "bert-base-uncased/")  # doctest: +SKIP
>>> fill("Paris is the [MASK] of France.")[0]["token_str"]  # doctest: +SKIP
'capital'

Rows go in batches of one size and a few lengths, so that a pipeline compiles once a length.

Dims: B rows, T length, P masks of a row, K pieces that are told, V vocabulary, D hidden size.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from flaxformers_edu.errors import InputError, unknown_name
from flaxformers_edu.interop import Pretrained, from_pretrained
from flaxformers_edu.objectives import (
    Classification,
    MultipleChoice,
    QuestionAnswering,
    Regression,
)
from flaxformers_edu.objectives.rows import as_row, collate_rows, forward, room_for_text
from flaxformers_edu.text.batching import bucket_boundaries, pad_sequences
from flaxformers_edu.text.tokenizer import Tokenizer

MASK = "[MASK]"
"""What a text may have for a mask, whatever the model's own is."""
OUTSIDE = "O"
"""The label of pieces that belong to no entity."""

Rows = list[dict[str, Any]]
Arrays = dict[str, np.ndarray]


def pipeline(
    task: str, folder: str | Path, *, batch_size: int = 8, mesh: Mesh | None = None, **changes: Any
) -> "Pipeline":
    """What a folder's model says of texts.

    Args:
        task: "fill-mask", "text-classification", "token-classification", "question-answering",
            "multiple-choice" or "feature-extraction".
        folder: of a model with its tokeniser, see `from_pretrained`.
        batch_size: rows that are computed at once.
        mesh: where the parameters go.
        **changes: fields of the model's config, see `from_pretrained`.

    Raises:
        InputError: an unknown task, a folder that cannot be read, one without a tokeniser, or whose
            model has not learnt the task.
    """
    if task not in PIPELINES:
        raise unknown_name("task", task, PIPELINES)
    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size}; it must be at least 1")
    kind = PIPELINES[task]
    found = from_pretrained(folder, kind.model_task, mesh=mesh, **changes)
    if found.tokenizer is None:
        raise InputError(f"{folder} has no tokeniser")
    if new := [name for name in found.initialised if not name.startswith("pooler")]:
        raise InputError(f"{folder} has not learnt {task}: it has no weights for {', '.join(new)}")
    return kind(found, batch_size)


@dataclasses.dataclass(frozen=True)
class Pipeline:
    """A model that is called with an input, or with a list of them; the answers come likewise."""

    pretrained: Pretrained
    batch_size: int = 8

    model_task = "base"

    def __call__(self, inputs: Any, **settings: Any) -> Any:
        """The answer for one input, or those for a list."""
        if isinstance(inputs, list):
            return self.answers(inputs, **settings) if inputs else []
        return self.answers([inputs], **settings)[0]

    def answers(self, inputs: Sequence[Any]) -> list[Any]:
        """One answer an input."""
        raise NotImplementedError

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's own."""
        assert self.pretrained.tokenizer is not None
        return self.pretrained.tokenizer

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the model's labels, in the order of its outputs."""
        number = self.pretrained.config.num_labels
        names = self.pretrained.original.get("id2label") or {}
        return tuple(str(names.get(str(i), f"LABEL_{i}")) for i in range(number))

    @cached_property
    def _compiled(self) -> dict[Any, Callable[..., Any]]:
        return {}

    def run(
        self,
        rows: Rows,
        compute: Callable[[Any, Mapping[str, Any]], Mapping[str, Any]],
        collate: Callable[..., Arrays],
        key: Any = None,
    ) -> list[Arrays]:
        """`compute(params, batch)` of all rows, one result a row; compiled once a key and shape."""
        buckets = bucket_boundaries(self.pretrained.config.max_length, 16)
        step = self._compiled.setdefault(key, jax.jit(compute))
        lengths = np.array(
            [row["length"][0] if "length" in row else len(row["input_ids"]) for row in rows]
        )
        found: list[Arrays] = [{} for _ in rows]
        order = np.argsort(lengths, kind="stable")
        for start in range(0, len(rows), self.batch_size):
            chosen = order[start : start + self.batch_size]
            length = buckets[int(np.searchsorted(buckets, lengths[chosen[-1]]))]
            batch = collate([rows[i] for i in chosen], self.batch_size, length)
            outputs = jax.device_get(step(self.pretrained.params, batch))
            for place, index in enumerate(chosen):
                found[index] = {name: array[place] for name, array in outputs.items()}
        return found

    def by_objective(self, objective: Any, examples: Sequence[Mapping[str, Any]]) -> list[Any]:
        """What an objective of fine-tuning makes of examples."""
        model, longest = self.pretrained.model, self.pretrained.config.max_length
        encoded = Encoded()
        for index, example in enumerate(examples):
            rows = objective.encode(example, self.tokenizer, max_length=longest)
            for row in rows if isinstance(rows, list) else [rows]:
                encoded.append({name: np.asarray(value) for name, value in row.items()}, index)
        collate = objective.collate(self.pretrained.config)
        predict = partial(objective.predict, model)
        outputs = self.run(encoded.rows, predict, collate, key=objective)
        return objective.outcomes(outputs, encoded, examples, self.tokenizer)

    def row_of(self, text: Any) -> dict[str, Any]:
        """A text as a row in the model's template, with the characters that each piece covers.

        Raises:
            InputError: it is no text, or longer than the model can read.
        """
        if not isinstance(text, str):
            raise InputError(f"input {text!r} is not a text")
        longest = self.pretrained.config.max_length
        pieces = self.tokenizer.pieces(text)
        if len(pieces.ids) > room_for_text(self.tokenizer, longest, pair=False):
            raise InputError(
                f"a text of {len(pieces.ids)} pieces is longer than the model reads, {longest} "
                "with special tokens: split it"
            )
        row = as_row(self.tokenizer, list(pieces.ids))
        begins = next(i for i in range(len(row["input_ids"])) if self._is_text(row, i, pieces.ids))
        return {**row, "begins": begins, "spans": pieces.spans}

    def _is_text(self, row: Mapping[str, Any], place: int, ids: Sequence[int]) -> bool:
        return list(row["input_ids"][place : place + len(ids)]) == list(ids)


class Encoded:
    """Rows, and from which example each came."""

    def __init__(self) -> None:
        self.rows: Rows = []
        self._origins: list[int] = []

    def append(self, row: dict[str, Any], origin: int) -> None:
        """One more row."""
        self.rows.append(row)
        self._origins.append(origin)

    @property
    def origins(self) -> np.ndarray:
        """The index of each row's example."""
        return np.asarray(self._origins)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return self.rows[index]


class FillMask(Pipeline):
    """Texts with masks: for each mask the likeliest pieces, {score, token, token_str, sequence}.

    A text with several masks has a list for each of them.
    """

    model_task = "masked_lm"

    def answers(self, inputs: Sequence[Any], *, top_k: int = 5) -> list[Any]:
        """One list of pieces a text, or one a mask.

        Raises:
            InputError: a text without a mask.
        """
        mask_id = self.tokenizer.mask_token_id
        if mask_id is None:
            raise InputError("the tokeniser has no token for a mask")
        if not 1 <= top_k <= self.tokenizer.vocab_size:
            raise InputError(f"top_k is {top_k}; it must be from 1 to {self.tokenizer.vocab_size}")
        own = self.tokenizer.tokens([mask_id])[0]
        rows = []
        for text in inputs:
            row = self.row_of(text.replace(MASK, own) if isinstance(text, str) else text)
            places = [i for i, piece in enumerate(row["input_ids"]) if piece == mask_id]
            if not places:
                raise InputError(f"{text!r} has no {MASK} to be filled in")
            rows.append({**row, "places": places})
        most = max(len(row["places"]) for row in rows)
        number = 1 << (most - 1).bit_length()  # few shapes, here too
        model, vocabulary = self.pretrained.model, self.tokenizer.vocab_size

        def compute(params: Any, batch: Mapping[str, Any]) -> dict[str, Any]:
            logits_BPV = forward(model, params, batch, None).logits.astype(jnp.float32)
            probabilities_BPV = jax.nn.softmax(logits_BPV)[..., :vocabulary]
            scores_BPK, tokens_BPK = jax.lax.top_k(probabilities_BPV, top_k)
            return {"scores": scores_BPK, "tokens": tokens_BPK}

        def collate(examples: Rows, size: int, length: int) -> Arrays:
            batch = collate_rows(examples, size, length, config=self.pretrained.config)
            missing: list[list[int]] = [[] for _ in range(size - len(examples))]
            places = [*(example["places"] for example in examples), *missing]
            return {**batch, "predict_positions": pad_sequences(places, number, 0)}

        outputs = self.run(rows, compute, collate, key=("fill", top_k))
        return [self._filled(*both) for both in zip(rows, outputs, strict=True)]

    def _filled(self, row: Mapping[str, Any], output: Arrays) -> list[Any]:
        each = []
        for place, scores_K, tokens_K in zip(
            row["places"], output["scores"], output["tokens"], strict=False
        ):
            each.append(
                [
                    {
                        "score": float(score),
                        "token": int(token),
                        "token_str": self.tokenizer.tokens([int(token)])[0],
                        "sequence": self._with(row["input_ids"], place, int(token)),
                    }
                    for score, token in zip(scores_K, tokens_K, strict=True)
                ]
            )
        return each[0] if len(each) == 1 else each

    def _with(self, ids: Sequence[int], place: int, token: int) -> str:
        return self.tokenizer.decode([*ids[:place], token, *ids[place + 1 :]])


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


class TokenClassification(Pipeline):
    """Texts: {entity, score, index, word, start, end} of each piece that belongs to an entity."""

    model_task = "token_classification"

    def answers(self, inputs: Sequence[Any], *, ignore: Sequence[str] = (OUTSIDE,)) -> list[Any]:
        """One list a text; pieces with labels of `ignore` are left out."""
        model, labels = self.pretrained.model, self.labels

        def compute(params: Any, batch: Mapping[str, Any]) -> dict[str, Any]:
            logits = forward(model, params, batch, None).logits.astype(jnp.float32)
            return {"probabilities": jax.nn.softmax(logits)}

        collate = partial(collate_rows, config=self.pretrained.config)
        rows = [self.row_of(text) for text in inputs]
        outputs = self.run(rows, compute, collate, key="tokens")
        found = []
        for text, row, output in zip(inputs, rows, outputs, strict=True):
            entities = []
            for place, (start, end) in enumerate(row["spans"], start=row["begins"]):
                best = int(output["probabilities"][place].argmax())
                if labels[best] not in ignore:
                    score = float(output["probabilities"][place, best])
                    entities.append(
                        {
                            "entity": labels[best],
                            "score": score,
                            "index": place,
                            "word": text[start:end],
                            "start": start,
                            "end": end,
                        }
                    )
            found.append(entities)
        return found


class Answers(Pipeline):
    """{"question", "context"}: {answer, start, end, candidates}, over a context's windows."""

    model_task = "question_answering"

    def answers(self, inputs: Sequence[Any], *, unanswerable: bool = False) -> list[Any]:
        """One answer a question; with `unanswerable` it may be empty."""
        return self.by_objective(QuestionAnswering(unanswerable=unanswerable), inputs)


class Choices(Pipeline):
    """{"question", "choices"}: {label, choice, probabilities}; the label is the number, from 0."""

    model_task = "multiple_choice"

    def answers(self, inputs: Sequence[Any]) -> list[Any]:
        """One choice a question; questions may have different numbers of choices."""
        numbers = [len(example.get("choices", ())) for example in inputs]
        found: list[Any] = [None] * len(inputs)
        for number in sorted(set(numbers)):
            if number < 2:
                raise InputError(f"a question has {number} choices; give at least 2")
            objective = MultipleChoice(labels=tuple(map(str, range(number))))
            chosen = [i for i, n in enumerate(numbers) if n == number]
            outcomes = self.by_objective(objective, [inputs[i] for i in chosen])
            for index, outcome in zip(chosen, outcomes, strict=True):
                found[index] = outcome
        return found


class Features(Pipeline):
    """Texts: the last states of their tokens, special ones included, [T, D]."""

    def answers(self, inputs: Sequence[Any]) -> list[Any]:
        """One array a text."""
        model = self.pretrained.model

        def compute(params: Any, batch: Mapping[str, Any]) -> dict[str, Any]:
            return {"states": forward(model, params, batch, None).last_hidden_state}

        rows = [self.row_of(text) for text in inputs]
        collate = partial(collate_rows, config=self.pretrained.config)
        outputs = self.run(rows, compute, collate, key="features")
        both = zip(rows, outputs, strict=True)
        return [output["states"][: len(row["input_ids"])] for row, output in both]


PIPELINES: dict[str, type[Pipeline]] = {
    "fill-mask": FillMask,
    "text-classification": TextClassification,
    "token-classification": TokenClassification,
    "question-answering": Answers,
    "multiple-choice": Choices,
    "feature-extraction": Features,
}
"""Tasks by the names that Hugging Face gives them."""
