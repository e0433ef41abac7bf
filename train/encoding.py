"""A source, encoded once: maximum lengths applied, rows laid into columns."""

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from flaxformers_edu.errors import InputError
from train.examples import SOURCE, TARGET, EncodedExamples, lengths_of_row
from train.pipeline import Batching

Row = Mapping[str, Sequence[Any]]
Encode = Callable[[Mapping[str, Any]], Row | Sequence[Row]]


def encode_examples(
    source: Iterable[Mapping[str, Any]], encode: Encode, batching: Batching
) -> EncodedExamples:
    """Encode a source once, and apply the maximum lengths.

    Args:
        source: examples of any kind.
        encode: example -> {"input_ids": ids, "labels": ids (if there is a target), ...}, or several
            such rows. Other names are kept as they are; "length" ([one number]) is what decides the
            bucket of a row whose ids are not one sequence. Ints are kept as int32, floats as
            float32, and tuples of ints, the characters of words, once each.
        batching: the maximum lengths and what happens beyond them. A truncated side keeps its last
            token, so that it still ends with the end token; a split text becomes consecutive
            windows, each a row of its own.

    Raises:
        InputError: naming the example by its index: one that `encode` refuses, that is over-long
            under over_length="error", that is over-long and has more than what can be cut, or that
            has no tokens; or a source of which nothing is left.
    """
    columns = Columns()
    num_dropped = num_seen = 0
    for index, example in enumerate(source):
        num_seen += 1
        try:
            encoded = encode(example)
            rows = [encoded] if isinstance(encoded, Mapping) else encoded
            pieces = [piece for row in rows for piece in within_limits(row, batching)]
            for piece in pieces:
                columns.append(index, piece)
        except InputError as error:
            raise InputError(f"example {index}: {error}") from error
        num_dropped += not pieces
    if not columns.origins:
        raise InputError(
            "there are no examples"
            if not num_dropped
            else f"all {num_seen} examples were dropped: they exceed max_source_length="
            f"{batching.max_source_length} or max_target_length={batching.max_target_length}"
        )
    return columns.freeze(num_dropped)


def within_limits(row: Row, batching: Batching) -> list[Row]:
    """A row, what is left of one that is too long, or nothing where it is to be dropped.

    Raises:
        InputError: it has no tokens, or is too long where that is an error or cannot be helped.
    """
    limits = {SOURCE: batching.max_source_length}
    limits[TARGET] = batching.max_target_length or batching.max_source_length
    lengths = lengths_of_row(row)
    for name, length in lengths.items():
        if not length:
            raise InputError(f"no tokens in {name}")
    over = [name for name, length in lengths.items() if length > limits[name]]
    if not over:
        return [row]
    if batching.over_length == "drop":
        return []
    field = "max_source_length" if over[0] == SOURCE else "max_target_length"
    found = f"{lengths[over[0]]} tokens in {over[0]}, more than {field}={limits[over[0]]}"
    if batching.over_length == "error":
        raise InputError(f"{found}; raise it, or set over_length to truncate or drop")
    may_have = {SOURCE} if batching.over_length == "split" else {SOURCE, TARGET}
    if row.keys() - may_have:
        raise InputError(
            f"{found}; over_length={batching.over_length!r} cannot cut it, for it has more than "
            f"{' and '.join(sorted(may_have))}: {sorted(row)}"
        )
    if batching.over_length == "split":
        ids, limit = row[SOURCE], limits[SOURCE]
        return [{SOURCE: ids[start : start + limit]} for start in range(0, len(ids), limit)]
    cut = {name: [*row[name][: limits[name] - 1], row[name][-1]] for name in over}
    return [{**row, **cut}]


class Columns:
    """Rows on their way into flat arrays."""

    def __init__(self) -> None:
        self.values: dict[str, array] = {}
        self.offsets: dict[str, array] = {}
        self.tables: dict[str, dict[tuple[int, ...], int]] = {}
        self.origins = array("q")

    def append(self, origin: int, row: Row) -> None:
        """Adds a row. The first one decides which columns there are, and what they hold."""
        if not self.values:
            for name, values in row.items():
                floats = len(values) > 0 and isinstance(values[0], float | np.floating)
                self.values[name] = array("f" if floats else "i")
                if len(values) > 0 and isinstance(values[0], tuple):
                    self.tables[name] = {}
                self.offsets[name] = array("q", [0])
        if row.keys() != self.values.keys():
            raise InputError(f"columns {sorted(row)}, but the first had {sorted(self.values)}")
        for name, values in row.items():
            if (table := self.tables.get(name)) is not None:
                values = [table.setdefault(value, len(table)) for value in values]
            self.values[name].extend(values)
            self.offsets[name].append(len(self.values[name]))
        self.origins.append(origin)

    def freeze(self, num_dropped: int) -> EncodedExamples:
        """All of them."""
        columns = {
            name: (
                np.array(values, np.float32 if values.typecode == "f" else np.int32),
                np.array(self.offsets[name], np.int64),
            )
            for name, values in self.values.items()
        }
        tables = {name: np.array(list(table), np.int32) for name, table in self.tables.items()}
        return EncodedExamples(
            columns,
            tables=tables,
            origins=np.array(self.origins, np.int64),
            num_dropped=num_dropped,
        )
