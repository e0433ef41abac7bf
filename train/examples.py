"""Encoded examples as the trainer keeps them: a flat array for each column."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Examples = Sequence[dict[str, Any]]
"""Those of a split, as their source gives them."""

SOURCE, TARGET, LENGTH = "input_ids", "labels", "length"
"""Columns whose lengths decide the bucket: `length`, where there is one, in place of the others."""


def lengths_of_row(row: Mapping[str, Any]) -> dict[str, int]:
    """What decides a row's bucket, by column: the given length, else those of ids and labels."""
    if LENGTH in row:
        return {SOURCE: int(row[LENGTH][0])}
    return {name: len(row[name]) for name in (SOURCE, TARGET) if name in row}


class EncodedExamples(Sequence):
    """Rows of numbers: for each name one flat array, int32 or float32, and the offsets into it.

    Millions of small arrays would cost more in headers than in tokens. Words that are rows of
    characters lie in a table, each once, and their column has the numbers of its rows.
    """

    def __init__(
        self,
        columns: Mapping[str, tuple[np.ndarray, np.ndarray]],
        *,
        tables: Mapping[str, np.ndarray] | None = None,
        origins: np.ndarray | None = None,
        num_dropped: int = 0,
    ) -> None:
        """columns: name -> (values of all rows one after another, offsets [N + 1]).

        tables: name -> [words, characters], where the values are rows of it.
        """
        self.columns = dict(columns)
        self.tables = dict(tables or {})
        self.origins: np.ndarray = np.arange(len(self)) if origins is None else origins
        """Which example each row came from, [N], ascending."""
        self.num_dropped = num_dropped
        """Examples that were over the maximum length and left out."""

    def __len__(self) -> int:
        """Number of rows."""
        return len(next(iter(self.columns.values()))[1]) - 1

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:  # type: ignore[override]
        """Row `index`: name -> values."""
        index = range(len(self))[index]
        row = {
            name: values[offsets[index] : offsets[index + 1]]
            for name, (values, offsets) in self.columns.items()
        }
        return row | {name: table[row[name]] for name, table in self.tables.items()}

    def of_first(self, examples: int) -> "EncodedExamples":
        """The rows of the first so many examples."""
        n = int(np.searchsorted(self.origins, examples))
        columns = {
            name: (values[: offsets[n]], offsets[: n + 1])
            for name, (values, offsets) in self.columns.items()
        }
        return EncodedExamples(columns, tables=self.tables, origins=self.origins[:n])

    @property
    def lengths(self) -> np.ndarray:
        """What decides each row's bucket: [N, 2] for source and target, [N, 1] without a target."""
        if LENGTH in self.columns:
            return self.columns[LENGTH][0][:, None]
        sides = [self.columns[name][1] for name in (SOURCE, TARGET) if name in self.columns]
        return np.stack([np.diff(offsets) for offsets in sides], axis=1)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all values and lengths: processes that share the data compare it."""
        digest = hashlib.sha256()
        for name in sorted(self.columns):
            parts = [*self.columns[name], *([self.tables[name]] if name in self.tables else [])]
            for part in (name.encode(), *map(np.ascontiguousarray, parts)):
                digest.update(part)
        return digest.hexdigest()
