"""Which pieces could stand in place of a mask.

Dims: B rows, P masks of a row, K pieces that are told, V vocabulary.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from flaxformers_edu.errors import InputError
from flaxformers_edu.objectives.rows import collate_rows, forward
from flaxformers_edu.pipelines.base import Arrays, Pipeline, Rows
from flaxformers_edu.text.batching import pad_sequences

MASK = "[MASK]"
"""What a text may have for a mask, whatever the model's own is."""

Guess = dict[str, Any]


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
        found = self.of_each_mask(inputs, top_k=top_k)
        return [masks[0] if len(masks) == 1 else masks for masks in found]

    def of_each_mask(self, inputs: Sequence[Any], *, top_k: int = 5) -> list[list[list[Guess]]]:
        """For each text, and for each of its masks, the likeliest pieces, best first.

        Raises:
            InputError: a text without a mask, or longer than the model can read.
        """
        if not 1 <= top_k <= self.tokenizer.vocab_size:
            raise InputError(f"top_k is {top_k}; it must be from 1 to {self.tokenizer.vocab_size}")
        rows = self._rows(inputs)
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
        return [self._guesses(*both) for both in zip(rows, outputs, strict=True)]

    def _rows(self, inputs: Sequence[Any]) -> Rows:
        """Each text as a row, with the `places` of its masks."""
        mask_id = self.tokenizer.mask_token_id
        if mask_id is None:
            raise InputError("the tokeniser has no token for a mask")
        own = self.tokenizer.tokens([mask_id])[0]
        rows = []
        for text in inputs:
            row = self.row_of(text.replace(MASK, own) if isinstance(text, str) else text)
            places = [i for i, piece in enumerate(row["input_ids"]) if piece == mask_id]
            if not places:
                raise InputError(f"{text!r} has no {MASK} to be filled in")
            rows.append({**row, "places": places})
        return rows

    def _guesses(self, row: Mapping[str, Any], output: Arrays) -> list[list[Guess]]:
        masks = zip(row["places"], output["scores"], output["tokens"], strict=False)
        return [
            [
                {
                    "score": float(score),
                    "token": int(token),
                    "token_str": self.tokenizer.tokens([int(token)])[0],
                    "sequence": self._with(row["input_ids"], place, int(token)),
                }
                for score, token in zip(scores_K, tokens_K, strict=True)
            ]
            for place, scores_K, tokens_K in masks
        ]

    def _with(self, ids: Sequence[int], place: int, token: int) -> str:
        return self.tokenizer.decode([*ids[:place], token, *ids[place + 1 :]])
