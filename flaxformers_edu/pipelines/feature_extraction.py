"""What a model makes of each token of a text.

Dims: T length, D hidden size.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from flaxformers_edu.objectives.rows import collate_rows, forward
from flaxformers_edu.pipelines.base import Pipeline


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
