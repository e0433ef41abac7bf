"""The entities that the pieces of a text belong to."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from flaxformers_edu.metrics.entities import OUTSIDE
from flaxformers_edu.objectives.rows import collate_rows, forward
from flaxformers_edu.pipelines.base import Arrays, Pipeline


class TokenClassification(Pipeline):
    """Texts: {entity, score, index, word, start, end} of each piece that belongs to an entity."""

    model_task = "token_classification"

    def answers(self, inputs: Sequence[Any], *, ignore: Sequence[str] = (OUTSIDE,)) -> list[Any]:
        """One list a text; pieces with labels of `ignore` are left out."""
        model = self.pretrained.model

        def compute(params: Any, batch: Mapping[str, Any]) -> dict[str, Any]:
            logits = forward(model, params, batch, None).logits.astype(jnp.float32)
            return {"probabilities": jax.nn.softmax(logits)}

        collate = partial(collate_rows, config=self.pretrained.config)
        rows = [self.row_of(text) for text in inputs]
        outputs = self.run(rows, compute, collate, key="tokens")
        return [
            [e for e in self._entities(text, row, output) if e["entity"] not in ignore]
            for text, row, output in zip(inputs, rows, outputs, strict=True)
        ]

    def _entities(self, text: str, row: Mapping[str, Any], output: Arrays) -> list[dict[str, Any]]:
        labels, found = self.labels, []
        for place, (start, end) in enumerate(row["spans"], start=row["begins"]):
            best = int(output["probabilities"][place].argmax())
            found.append(
                {
                    "entity": labels[best],
                    "score": float(output["probabilities"][place, best]),
                    "index": place,
                    "word": text[start:end],
                    "start": start,
                    "end": end,
                }
            )
        return found
