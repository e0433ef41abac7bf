"""Masked language modelling alone: predict the tokens that are hidden, from both sides.

Rows are masked anew at every step (Liu et al. 2019, section 4.1).

Dims: B rows, T length, P places.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import flax.linen as nn
import numpy as np
from jaxtyping import Array, Int

from flaxformers_edu.objectives.documents import HiddenTokens, encode_documents
from flaxformers_edu.objectives.full_rows import full_sentences
from flaxformers_edu.objectives.losses import Loss, cross_entropy, perplexity
from flaxformers_edu.objectives.masking import for_dropout, mask_batch, split_key
from flaxformers_edu.objectives.rows import forward, room_for_text
from flaxformers_edu.text.tokenizer import Tokenizer


@dataclasses.dataclass(frozen=True)
class MaskedLM(HiddenTokens):
    """Cross-entropy of the hidden tokens; judged by it alone."""

    task = "masked_lm"

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
        documents = encode_documents(examples, tokenizer)
        make_row = self.row_maker(tokenizer, documents)
        for ids in full_sentences(
            documents,
            room=room_for_text(tokenizer, max_length, pair=False),
            separator=tokenizer.sep_token_id,
        ):
            yield make_row(ids)

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
        output = forward(model, params, inputs, for_dropout(dropout_key))
        return cross_entropy(output.logits, labels_BP)

    def measures(self, means: dict[str, float]) -> dict[str, float]:
        """The means, and the perplexity of a hidden token."""
        return {**means, "perplexity": perplexity(means["nll"])}
