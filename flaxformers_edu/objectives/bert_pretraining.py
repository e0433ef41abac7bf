"""BERT's and ALBERT's pre-training: hidden tokens, and the relation of two segments of text."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import flax.linen as nn
import numpy as np
from jaxtyping import Array

from flaxformers_edu.errors import InputError, unknown_name
from flaxformers_edu.objectives.documents import (
    HiddenTokens,
    collate,
    encode_documents,
)
from flaxformers_edu.objectives.losses import (
    Loss,
    class_loss,
    cross_entropy,
    joint_loss,
    own_means,
    perplexity,
)
from flaxformers_edu.objectives.masking import for_dropout, mask_batch, split_key
from flaxformers_edu.objectives.rows import forward, room_for_text
from flaxformers_edu.objectives.sentence_pairs import KINDS, sentence_pairs
from flaxformers_edu.text.tokenizer import Tokenizer


@dataclasses.dataclass(frozen=True)
class BertPretraining(HiddenTokens):
    """The mean over the hidden tokens plus the mean over the pairs (Devlin et al. 2019, A.2)."""

    pairs: str = "nsp"
    """What is asked of two segments: nsp, whether the second follows the first or is a random one
    (BERT); sop, whether they are in order or swapped (Lan et al. 2019, section 3.1)."""
    short_fraction: float = 0.1
    """Of the rows: those made shorter, so that the model sees short texts, too."""
    duplicates: int = 1
    """How often the corpus is gone through, with pairs cut anew each time."""

    task = "pretraining"

    def __post_init__(self) -> None:
        if self.pairs not in KINDS:
            raise unknown_name("objective.pairs", self.pairs, KINDS)
        if not 0 <= self.short_fraction <= 1:
            raise InputError(
                f"objective.short_fraction is {self.short_fraction}; it must be from 0 to 1"
            )
        if self.duplicates < 1:
            raise InputError(f"objective.duplicates is {self.duplicates}; it must be at least 1")

    def encode_corpus(
        self,
        examples: Sequence[Mapping[str, Any]],
        tokenizer: Tokenizer,
        *,
        max_length: int,
        seed: int,
    ) -> Iterator[dict[str, np.ndarray]]:
        """Pairs of segments of documents {"sentences"} or {"text"}, with `sentence_labels`.

        Raises:
            InputError: the tokeniser has no mask token, max_length no room for two texts, or there
                are not two documents.
        """
        room = room_for_text(tokenizer, max_length - 1, pair=True) + 1  # for both, one at least
        documents = encode_documents(examples, tokenizer)
        make_row = self.row_maker(tokenizer, documents)
        for duplicate in range(self.duplicates):
            rng = np.random.default_rng([seed, duplicate])
            found = sentence_pairs(
                documents, rng, kind=self.pairs, room=room, short_fraction=self.short_fraction
            )
            for ids_a, ids_b, label in found:
                yield {**make_row(ids_a, ids_b), "sentence_labels": np.array([label], np.int32)}

    def collate(self, config: Any, *, packed: bool = False) -> Callable[..., dict]:
        """The function from encoded rows to a batch with `maskable` and `sentence_labels` [rows].

        Raises:
            InputError: the model has no token types to tell the segments apart by.
        """
        if config.num_token_types < 2:
            raise InputError(
                f"model.num_token_types is {config.num_token_types}; pairs need at least 2"
            )
        return collate(config, packed=packed, labels=True, counts=self.masking.smoothing > 0)

    def loss(
        self, model: nn.Module, params: Any, batch: Mapping[str, Array], dropout_key: Array | None
    ) -> Loss:
        """Both means, added; see `joint_loss`. No key means no dropout and a fixed choice."""
        config: Any = model.config
        mask_key, _ = split_key(dropout_key, 2)
        inputs, labels_BP = mask_batch(batch, config, self.masking, mask_key)
        output = forward(model, params, inputs, for_dropout(dropout_key))
        tokens = cross_entropy(output.prediction_logits, labels_BP)
        of_pairs = getattr(output, "sop_logits", None)
        logits_B2 = output.seq_relationship_logits if of_pairs is None else of_pairs
        return joint_loss(tokens, class_loss(logits_B2, batch["sentence_labels"]), "sentence")

    def measures(self, means: dict[str, float]) -> dict[str, float]:
        """Both losses and accuracies over their own weights, and the perplexity of a token."""
        found = own_means(means, "sentence")
        del found["sentence_nll"]  # the same as sentence_loss
        loss = found["nll"] + found["sentence_loss"]
        return {**found, "loss": loss, "perplexity": perplexity(found["nll"])}
