"""Language modelling: predict each token of a text from those before it."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import flax.linen as nn
from jaxtyping import Array

from flaxformers_edu.objectives.base import JudgedByLoss
from flaxformers_edu.objectives.losses import (
    Loss,
    check_loss_chunks,
    next_token_loss,
    perplexity,
)
from flaxformers_edu.text.batching import collate_causal, collate_causal_packed
from flaxformers_edu.text.tokenizer import Tokenizer, beginning


@dataclasses.dataclass(frozen=True)
class CausalLM(JudgedByLoss):
    """Cross-entropy of the next token (Radford et al. 2018, eq. 1); judged by it alone."""

    loss_chunks: int = 1
    """Parts of the length whose logits are computed one after the other: less memory."""
    begin: bool = False
    """Whether each text begins with a token that says so, the tokeniser's own for that or the end
    token, as GPT-2's corpus has one between any two texts: the first token is predicted, too, and
    a model can write without a prompt."""

    task = "causal_lm"

    def __post_init__(self) -> None:
        check_loss_chunks(self.loss_chunks)

    def texts(self, example: Mapping[str, Any]) -> list[str]:
        """What a tokeniser is trained on."""
        return [example["text"]]

    def encode(
        self, example: Mapping[str, Any], tokenizer: Tokenizer, *, max_length: int
    ) -> dict[str, list[int]]:
        """A text {"text"} as token ids with an end token, however long it is.

        Raises:
            InputError: the tokeniser has no token that a text could begin with, and one is wanted.
        """
        before = beginning(tokenizer) if self.begin else ()
        return {"input_ids": [*before, *tokenizer.encode(example["text"])]}

    def collate(self, config: Any, *, packed: bool = False) -> Callable[..., dict]:
        """The function from encoded examples to a batch: a text a row, or several."""
        return partial(
            collate_causal_packed if packed else collate_causal, pad_token_id=config.pad_token_id
        )

    def loss(
        self, model: nn.Module, params: Any, batch: Mapping[str, Array], dropout_key: Array | None
    ) -> Loss:
        """Cross-entropy over the tokens that have one before them; no key means no dropout."""
        return next_token_loss(model, params, batch, dropout_key, chunks=self.loss_chunks)

    def measures(self, means: dict[str, float]) -> dict[str, float]:
        """The means, and the perplexity: e to the mean negative log-likelihood of a token."""
        return {**means, "perplexity": perplexity(means["nll"])}
