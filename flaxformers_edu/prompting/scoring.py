"""How likely a language model finds texts after a context.

In two ways, which give the same numbers. Context and continuation are read as one whole row. Or,
where several continuations share a context, the context is read once and then all continuations
side by side, a token a step, as hypotheses of one cache (layers/cache.py): for C candidates of L
tokens after P, P + C·L tokens instead of C·(P + L).

Dims: B rows, T length, P context, C continuations of a context, L tokens of a continuation.
"""

import dataclasses
import functools
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from flaxformers_edu.errors import InputError
from flaxformers_edu.interop import Pretrained
from flaxformers_edu.prompting.likelihoods import score_contexts_first, score_whole_rows
from flaxformers_edu.prompting.tokens import Ids, Query
from flaxformers_edu.text.batching import bucket_boundaries

FEWEST = 8
"""Places that are looked at in a whole row, at least."""
GROWTH = 1.5
"""Of the lengths of buckets: each shape is compiled, once."""

Shape = tuple[int, ...]
Arrays = dict[str, np.ndarray]


class Likelihood(NamedTuple):
    """What a model says of a continuation."""

    log_likelihood: float
    """In nats, the sum over its tokens."""
    greedy: bool
    """Whether each of its tokens was the likeliest."""
    tokens: int
    """How many they are."""


@dataclasses.dataclass(frozen=True)
class Scorer:
    """Scores continuations with a model, in batches of few shapes."""

    pretrained: Pretrained
    """The model, a decoder alone."""
    batch_size: int = 8
    """Contexts, or whole rows, that are read at once."""
    share_context: bool = True
    """Whether a context is read once for all its continuations."""

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise InputError(f"batch_size is {self.batch_size}; it must be at least 1")
        if getattr(self.pretrained.model, "is_encoder_decoder", True):
            raise InputError("prompting needs a model that continues texts, such as a GPT")

    @property
    def max_length(self) -> int:
        """Tokens that the model reads at most."""
        return self.pretrained.config.max_length

    def __call__(self, queries: Sequence[Query]) -> list[list[Likelihood]]:
        """For each query the likelihoods of its continuations. What is asked twice is read once.

        Raises:
            InputError: a query is longer than the model reads.
        """
        for number, query in enumerate(queries):
            if query.length > self.max_length:
                raise InputError(
                    f"query {number} has {query.length} tokens, more than the model reads, "
                    f"{self.max_length}"
                )
        found: dict[Query, dict[Ids, Likelihood]] = {query: {} for query in queries}
        shared, rows = self._routes(found)
        for query, likelihoods in self._score_shared(shared):
            found[query].update(zip(query.continuations, likelihoods, strict=True))
        of_rows = dict(self._score_rows(rows))
        for query, by_text in found.items():
            for text in query.continuations:
                if text not in by_text:
                    by_text[text] = of_rows[query.context, text]
        return [[found[query][text] for text in query.continuations] for query in queries]

    # --- Which way, and in which shapes -----------------------------------------------------------

    @functools.cached_property
    def _lengths(self) -> tuple[int, ...]:
        return bucket_boundaries(self.max_length, 16, GROWTH)

    def _bucket(self, length: int) -> int:
        return next(bucket for bucket in self._lengths if bucket >= length)

    def _routes(
        self, queries: Mapping[Query, Any]
    ) -> tuple[dict[Shape, list[Query]], dict[Shape, list[tuple[Ids, Ids]]]]:
        """Queries to be read context first by their shape (P, C, L), and whole rows by (T, L)."""
        shared: dict[Shape, list[Query]] = defaultdict(list)
        rows: dict[tuple[Ids, Ids], None] = {}
        for query in queries:
            shape = self._shared_shape(query)
            if shape is not None:
                shared[shape].append(query)
            else:
                rows.update({(query.context, text): None for text in query.continuations})
        by_shape: dict[Shape, list[tuple[Ids, Ids]]] = defaultdict(list)
        for context, text in rows:
            length = self._bucket(len(context) + len(text) - 1)
            by_shape[length, _power_of_two(max(len(text), FEWEST))].append((context, text))
        return shared, by_shape

    def _shared_shape(self, query: Query) -> Shape | None:
        """(P, C, L), or None where whole rows are better or the shape would not fit the model.

        A step reads all weights for a token of each continuation, so that long ones after a short
        context are better read in one go.
        """
        if not self.share_context or len(set(query.continuations)) < 2:
            return None
        if query.longest > len(query.context):
            return None
        longest = _power_of_two(query.longest)
        # The cache counts padding, too, against what the model reads.
        context = min(self._bucket(len(query.context)), self.max_length + 1 - longest)
        if context < len(query.context):
            return None
        return context, _power_of_two(len(query.continuations)), longest

    # --- Batches ----------------------------------------------------------------------------------

    def _compute(self, program: Callable, batch: Arrays) -> tuple[np.ndarray, np.ndarray]:
        return jax.device_get(program(self.pretrained.model, self.pretrained.params, batch))

    def _score_shared(
        self, by_shape: Mapping[Shape, Sequence[Query]]
    ) -> Iterator[tuple[Query, list[Likelihood]]]:
        for (P, C, L), queries in by_shape.items():
            for some in _batches(queries, self.batch_size):
                batch = _contexts_first([queries[i] for i in some], P, C, L)
                sums_BC, greedy_BC = self._compute(score_contexts_first, batch)
                for row, index in enumerate(dict.fromkeys(some)):
                    texts = queries[index].continuations
                    yield queries[index], _likelihoods(texts, sums_BC[row], greedy_BC[row])

    def _score_rows(
        self, by_shape: Mapping[Shape, Sequence[tuple[Ids, Ids]]]
    ) -> Iterator[tuple[tuple[Ids, Ids], Likelihood]]:
        for (T, L), rows in by_shape.items():
            for some in _batches(rows, self.batch_size):
                batch = _whole_rows([rows[i] for i in some], T, L)
                sums_B, greedy_B = self._compute(score_whole_rows, batch)
                for row, index in enumerate(dict.fromkeys(some)):
                    [likelihood] = _likelihoods([rows[index][1]], sums_B[row:], greedy_B[row:])
                    yield rows[index], likelihood


def _whole_rows(rows: Sequence[tuple[Ids, Ids]], T: int, L: int) -> Arrays:
    """Context and continuation in a row, padded on the right; where each token is predicted."""
    B = len(rows)
    batch: Arrays = {
        "input_ids": np.zeros((B, T), np.int32),
        "attention_mask": np.zeros((B, T), np.int32),
        "places": np.zeros((B, L), np.int32),
        "targets": np.zeros((B, L), np.int32),
        "is_token": np.zeros((B, L), bool),
    }
    for row, (context, text) in enumerate(rows):
        ids = (*context, *text[:-1])
        batch["input_ids"][row, : len(ids)] = ids
        batch["attention_mask"][row, : len(ids)] = 1
        batch["places"][row, : len(text)] = np.arange(len(context) - 1, len(ids))
        batch["targets"][row, : len(text)] = text
        batch["is_token"][row, : len(text)] = True
    return batch


def _contexts_first(queries: Sequence[Query], P: int, C: int, L: int) -> Arrays:
    """Contexts padded on the left, as a cache begins with them, and continuations on the right."""
    B = len(queries)
    batch: Arrays = {
        "input_ids": np.zeros((B, P), np.int32),
        "attention_mask": np.zeros((B, P), np.int32),
        "targets": np.zeros((B, C, L), np.int32),
        "is_token": np.zeros((B, C, L), bool),
    }
    for row, query in enumerate(queries):
        batch["input_ids"][row, P - len(query.context) :] = query.context
        batch["attention_mask"][row, P - len(query.context) :] = 1
        for place, text in enumerate(query.continuations):
            batch["targets"][row, place, : len(text)] = text
            batch["is_token"][row, place, : len(text)] = True
    return batch


def _batches(items: Sequence[Any], size: int) -> Iterator[list[int]]:
    """Indices in batches of one size; the last is filled up with its own last one."""
    for start in range(0, len(items), size):
        some = list(range(start, min(start + size, len(items))))
        yield some + some[-1:] * (size - len(some))


def _likelihoods(texts: Sequence[Ids], sums_C: Any, greedy_C: Any) -> list[Likelihood]:
    return [
        Likelihood(float(total), bool(greedy), len(text))
        for text, total, greedy in zip(texts, sums_C, greedy_C, strict=False)
    ]


def _power_of_two(number: int) -> int:
    return 1 << (number - 1).bit_length()
