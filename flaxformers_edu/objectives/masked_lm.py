"""Masked language modelling alone: predict the tokens that are hidden, from both sides.

Rows are masked anew at every step (Liu et al. 2019, section 4.1).

Dims: B rows, T length, P places.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jaxtyping import Array, Int

from flaxformers_edu.objectives.documents import (
    collate,
    encode_documents,
    row_maker,
    sentences_of,
)
from flaxformers_edu.objectives.full_rows import full_sentences
from flaxformers_edu.objectives.losses import Loss, cross_entropy, perplexity
from flaxformers_edu.objectives.masking import Masking, mask_batch
from flaxformers_edu.objectives.rows import forward, room_for_text
from flaxformers_edu.text.tokenizer import Tokenizer

EVALUATION_SEED = 0  # of what is hidden where no key is given: the same in every evaluation


def split_key(key: Array | None, number: int) -> tuple[Array, ...]:
    """Keys of which the last is for dropout; without a key, fixed ones to hide by."""
    return tuple(jax.random.split(jax.random.key(EVALUATION_SEED) if key is None else key, number))


@dataclasses.dataclass(frozen=True)
class MaskedLM:
    """Cross-entropy of the hidden tokens; judged by it alone."""

    masking: Masking = Masking()
    """What is hidden, and by what."""

    task = "masked_lm"
    metric = "loss"
    higher_is_better = False
    predicts = False
    generates = False

    def texts(self, example: Mapping[str, Any]) -> list[str]:
        """What a tokeniser is trained on."""
        return sentences_of(example)

    def encode_corpus(
        self,
        examples: Sequence[Mapping[str, Any]],
        tokenizer: Tokenizer,
        *,
        max_length: int,
        seed: int,
    ) -> Iterator[dict[str, np.ndarray]]:
        """Rows full of whole sentences of {"sentences"} or {"text"}, across documents.

        Raises:
            InputError: the tokeniser has no mask token, or max_length no room for text.
        """
        make_row = row_maker(tokenizer)
        for ids in full_sentences(
            encode_documents(examples, tokenizer),
            room=room_for_text(tokenizer, max_length, pair=False),
            separator=tokenizer.sep_token_id,
        ):
            yield make_row(ids)

    def collate(self, config: Any, *, packed: bool = False) -> Callable[..., dict]:
        """The function from encoded rows to a batch with `maskable`."""
        return collate(config, packed=packed)

    def shapes(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        """What the model reads, from the shapes of a batch: with the places it predicts."""
        return self.masking.shapes(shapes)

    def mask(
        self, batch: Mapping[str, Array], config: Any, key: Array | None
    ) -> tuple[dict[str, Array], Int[Array, "B P"]]:
        """(the model's inputs, labels at their `predict_positions`); no key hides by a fixed one.

        A label of -100 is a place without a prediction.
        """
        return mask_batch(batch, config, self.masking, split_key(key, 2)[0])

    def loss(
        self, model: nn.Module, params: Any, batch: Mapping[str, Array], dropout_key: Array | None
    ) -> Loss:
        """Cross-entropy over the hidden tokens; no key means no dropout and a fixed choice."""
        config: Any = model.config
        inputs, labels_BP = self.mask(batch, config, dropout_key)
        drop = None if dropout_key is None else split_key(dropout_key, 2)[-1]
        return cross_entropy(forward(model, params, inputs, drop).logits, labels_BP)

    def measures(self, means: dict[str, float]) -> dict[str, float]:
        """The means, and the perplexity of a hidden token."""
        return {**means, "perplexity": perplexity(means["nll"])}
