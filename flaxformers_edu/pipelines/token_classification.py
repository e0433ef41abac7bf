"""The entities that the pieces of a text belong to."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from flaxformers_edu.metrics.entities import OUTSIDE, entities
from flaxformers_edu.objectives.rows import collate_rows, forward
from flaxformers_edu.pipelines.base import Arrays, Pipeline

Row = Mapping[str, Any]


class TokenClassification(Pipeline):
    """Texts: {entity, score, index, word, start, end} of each piece that belongs to an entity.

    With `grouped`, {entity_group, score, word, start, end} of each entity as a whole.
    """

    model_task = "token_classification"

    def answers(
        self,
        inputs: Sequence[Any],
        *,
        grouped: bool = False,
        ignore: Sequence[str] = (OUTSIDE,),
    ) -> list[Any]:
        """One list a text; pieces with labels, or grouped entities with types, of `ignore` are left
        out. How pieces are grouped: `whole_entities`.
        """
        model = self.pretrained.model

        def compute(params: Any, batch: Mapping[str, Any]) -> dict[str, Any]:
            logits = forward(model, params, batch, None).logits.astype(jnp.float32)
            return {"probabilities": jax.nn.softmax(logits)}

        collate = partial(collate_rows, config=self.pretrained.config)
        rows = [self.row_of(text) for text in inputs]
        outputs = self.run(rows, compute, collate, key="tokens")
        found = []
        for text, row, output in zip(inputs, rows, outputs, strict=True):
            pieces = self._pieces(text, row, output)
            if grouped:
                whole = whole_entities(text, pieces, self._starts_word(row))
                found.append([e for e in whole if e["entity_group"] not in ignore])
            else:
                found.append([e for e in pieces if e["entity"] not in ignore])
        return found

    def _pieces(self, text: str, row: Row, output: Arrays) -> list[dict[str, Any]]:
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

    def _starts_word(self, row: Row) -> list[bool]:
        ids = row["input_ids"][row["begins"] :][: len(row["spans"])]
        return [bool(self.tokenizer.starts_word[piece]) for piece in ids]


def whole_entities(
    text: str, pieces: Sequence[Mapping[str, Any]], starts_word: Sequence[bool]
) -> list[dict[str, Any]]:
    """The entities of a text: {entity_group, score, word, start, end}.

    A word has the label of its first piece, the only one that taggers are trained on (Devlin et al.
    2019, section 5.3); `score` is the mean over an entity's words. Words also begin on both sides
    of punctuation, which byte-level pieces join to the word before. Labels that are no tags, such
    as parts of speech, are types: words of one type in a row belong together.

    Args:
        text: as it was read.
        pieces: {entity, score, word, start, end} of every piece.
        starts_word: whether the tokeniser has a word begin with that piece.
    """
    # A piece may be a space alone, of which no character is left.
    in_word = [not piece["word"] or any(map(str.isalnum, piece["word"])) for piece in pieces]
    begins = [
        i
        for i, starts in enumerate(starts_word)
        if i == 0 or starts or not (in_word[i - 1] and in_word[i])
    ]
    words = [pieces[i] for i in begins]
    ends = [pieces[i - 1]["end"] for i in [*begins[1:], len(pieces)]]
    found = []
    for kind, first, after in entities([_tag(word["entity"]) for word in words]):
        start, end = words[first]["start"], ends[after - 1]
        score = float(np.mean([word["score"] for word in words[first:after]]))
        entity = {"entity_group": kind, "score": score, "word": text[start:end]}
        found.append({**entity, "start": start, "end": end})
    return found


def _tag(label: str) -> str:
    return label if len(label) == 1 or label[1] == "-" else f"I-{label}"
