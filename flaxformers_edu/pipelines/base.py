"""What all pipelines share: rows in batches of few shapes, and answers one an input."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import jax
import numpy as np

from flaxformers_edu.errors import InputError
from flaxformers_edu.interop import Pretrained
from flaxformers_edu.objectives.rows import as_row, room_for_text, text_begins_at
from flaxformers_edu.text.batching import bucket_boundaries
from flaxformers_edu.text.tokenizer import Tokenizer

Rows = list[dict[str, Any]]
Arrays = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Pipeline:
    """A model that is called with an input, or with a list of them; the answers come likewise."""

    pretrained: Pretrained
    """The model, and the tokeniser that it cannot do without."""
    batch_size: int = 8
    """Rows that are computed at once."""

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

        `begins` is the place of the first piece in the row, `spans` those characters.

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
        return {**row, "begins": text_begins_at(self.tokenizer), "spans": pieces.spans}


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
