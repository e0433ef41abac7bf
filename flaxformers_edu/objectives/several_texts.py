"""Examples of several texts: choices, or two texts in both orders. A row of each, side by side.

Dims: B rows, C texts of an example, T length.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from flaxformers_edu.objectives.rows import Row, collate_rows

COLUMNS = ("input_ids", "token_type_ids")


def side_by_side(rows: Sequence[Row]) -> dict[str, list[int]]:
    """Rows of one example as one row, one after another.

    `choice_lengths` [C] says where they end, and `length` is the longest of them.
    """
    lengths = [len(row["input_ids"]) for row in rows]
    flat = {name: [i for row in rows for i in row[name]] for name in COLUMNS}
    return {**flat, "choice_lengths": lengths, "length": [max(lengths)]}


def collate_several(
    examples: Sequence[Row], rows: int, length: int, *, config: Any, num_texts: int
) -> dict[str, np.ndarray]:
    """`collate_rows` of all texts as [rows, C, length]; rows beyond the examples are empty."""
    texts = []
    for example in examples:
        ends = np.cumsum(example["choice_lengths"])
        parts = [np.split(np.asarray(example[name]), ends[:-1]) for name in COLUMNS]
        texts += [dict(zip(COLUMNS, part, strict=True)) for part in zip(*parts, strict=True)]
    flat = collate_rows(texts, rows * num_texts, length, config=config)
    return {name: ids.reshape(rows, num_texts, length) for name, ids in flat.items()}
