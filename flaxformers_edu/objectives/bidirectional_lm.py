"""Two language models at once: the next word from those before it, the one before from those after
it (Peters et al. 2018, section 3.1).

Dims: B rows, T length, P size of a direction's states.
"""

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jaxtyping import Array

from flaxformers_edu.errors import InputError
from flaxformers_edu.objectives.base import JudgedByLoss
from flaxformers_edu.objectives.documents import sentences_of
from flaxformers_edu.objectives.losses import (
    Loss,
    check_loss_chunks,
    chunked_cross_entropy,
    perplexity,
)
from flaxformers_edu.objectives.rows import Row, check_unpacked, collate_rows, forward
from flaxformers_edu.objectives.sampled_softmax import sampled_cross_entropy
from flaxformers_edu.text.batching import IGNORED_LABEL, pad_sequences
from flaxformers_edu.text.characters import BEGIN, END, CharacterTokenizer
from flaxformers_edu.text.tokenizer import Tokenizer

WORD = re.compile(r"\w+(?:['’.-]\w+)*|[^\w\s]")
LABELS = {"forward": "labels", "backward": "backward_labels"}
"""What each direction predicts, in a row."""


@dataclasses.dataclass(frozen=True)
class BidirectionalLM(JudgedByLoss):
    """The mean cross-entropy of both directions; judged by it alone, over the whole vocabulary.

    Sentences stand one after another, each between <S> and </S>, and are cut into rows wherever a
    row is full; both directions begin each row with nothing in mind. (The released models carried
    their states from batch to batch.)
    """

    negatives: int = 0
    """Words that a training step compares with, sampled anew for each batch and direction (the
    paper's model: 8192); 0: the whole vocabulary. Evaluation always has the whole."""
    loss_chunks: int = 1
    """Parts of the length whose logits are computed one after the other: less memory."""
    split_punctuation: bool = False
    """Whether punctuation is split from words, for texts that are not tokenised."""

    task = "bidirectional_lm"

    def __post_init__(self) -> None:
        check_loss_chunks(self.loss_chunks)
        if self.negatives < 0:
            raise InputError(f"objective.negatives is {self.negatives}; it must be 0 or more")

    def words(self, sentence: str) -> list[str]:
        """The words of a sentence."""
        return WORD.findall(sentence) if self.split_punctuation else sentence.split()

    def texts(self, example: Mapping[str, Any]) -> list[str]:
        """What the vocabulary is made of."""
        return [" ".join(self.words(sentence)) for sentence in sentences_of(example)]

    def encode_corpus(
        self,
        examples: Iterable[Mapping[str, Any]],
        tokenizer: Tokenizer,
        *,
        max_length: int,
        seed: int,
    ) -> Iterator[dict[str, list[Any]]]:
        """Rows of max_length words: their characters, and the number of the words around each.

        Raises:
            InputError: a tokeniser that reads no characters, or numbers no words.
        """
        if not isinstance(tokenizer, CharacterTokenizer) or not tokenizer.knows_words:
            raise InputError(
                "a bidirectional language model reads characters and predicts words: set "
                "tokenizer.kind to elmo, or give the folder of one that has a words.txt"
            )
        row: dict[str, list[Any]] = {"input_ids": [], **{name: [] for name in LABELS.values()}}
        for example in examples:
            for sentence in sentences_of(example):
                words = self.words(sentence)
                if not words:
                    continue
                numbers = tokenizer.word_ids([BEGIN, *words, END])
                columns = {
                    "input_ids": tokenizer.join(tokenizer.encode(" ".join(words), add_eos=False))[
                        0
                    ],
                    LABELS["forward"]: [*numbers[1:], IGNORED_LABEL],
                    LABELS["backward"]: [IGNORED_LABEL, *numbers[:-1]],
                }
                row = {name: values + columns[name] for name, values in row.items()}
                while len(row["input_ids"]) >= max_length:
                    yield {name: values[:max_length] for name, values in row.items()}
                    row = {name: values[max_length:] for name, values in row.items()}
        if row["input_ids"]:
            yield row

    def collate(self, config: Any, *, packed: bool = False) -> Callable[..., dict]:
        """The function from rows to a batch with the labels of both directions.

        Raises:
            InputError: packing is asked for, or more negatives than there are words.
        """
        check_unpacked(packed)
        if self.negatives >= config.vocab_size:
            raise InputError(
                f"objective.negatives is {self.negatives}; it must be below the "
                f"{config.vocab_size} words of model.vocab_size (0 takes them all)"
            )
        return partial(_collate, config=config)

    def shapes(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        """What a training step reads: with the words that it compares with, if not all are."""
        sampled = {"compared_words": (self.negatives + 1,)} if self.negatives else {}
        return {**shapes, **sampled}

    def loss(
        self, model: nn.Module, params: Any, batch: Mapping[str, Array], dropout_key: Array | None
    ) -> Loss:
        """The loss of both directions together; no key means no dropout, and the whole softmax."""
        key = output_key = dropout_key
        if dropout_key is not None:
            key, output_key = jax.random.split(dropout_key)
        output = forward(model, params, batch, key)
        losses = {}
        for number, (direction, name) in enumerate(LABELS.items()):
            hidden_BTP = getattr(output, f"{direction}_hidden")
            if output_key is not None and self.negatives:
                own_key = jax.random.fold_in(output_key, number)
                losses[direction] = self._sampled(model, params, hidden_BTP, batch[name], own_key)
            else:
                losses[direction] = self._whole(model, params, hidden_BTP, batch[name])
        both = losses["forward"] + losses["backward"]
        counts = {
            f"{direction}_{part}": value
            for direction, loss in losses.items()
            for part, value in (("nll", loss.sum), ("weight", loss.weight))
            if loss.counts  # a sampled loss is no negative log-likelihood
        }
        return Loss(both.sum, both.weight, jax.lax.stop_gradient({**both.counts, **counts}))

    def _whole(self, model: Any, params: Any, hidden_BTP: Array, labels_BT: Array) -> Loss:
        def to_logits(head_params: Any, x_BTP: Array) -> Array:
            return model.apply({"params": head_params}, x_BTP, method="to_logits")

        head = model.head_params(params)
        return chunked_cross_entropy(
            to_logits, head, hidden_BTP, labels_BT, chunks=self.loss_chunks
        )

    def _sampled(
        self, model: Any, params: Any, hidden_BTP: Array, labels_BT: Array, key: Array
    ) -> Loss:
        output = model.head_params(params)["output"]
        return sampled_cross_entropy(
            hidden_BTP.reshape(-1, hidden_BTP.shape[-1]),
            labels_BT.reshape(-1),
            output["embedding"],
            output["bias"],
            key,
            self.negatives,
        )

    def measures(self, means: dict[str, float]) -> dict[str, float]:
        """The means, and perplexities: of all, and of each direction; none of a sampled loss."""
        if "nll" not in means:
            return means
        found = {**means, "perplexity": perplexity(means["nll"])}
        for direction in LABELS:
            nll, weight = found.pop(f"{direction}_nll"), found.pop(f"{direction}_weight")
            found[f"{direction}_perplexity"] = perplexity(nll / (weight or 1.0))
        return found


def _collate(
    examples: Sequence[Row], rows: int, length: int, *, config: Any
) -> dict[str, np.ndarray]:
    """`collate_rows` and the labels of both directions, [rows, length]: -100 at padding."""
    batch = collate_rows(examples, rows, length, config=config)
    missing: list[list[int]] = [[] for _ in range(rows - len(examples))]
    for name in LABELS.values():
        labels = [*(example[name] for example in examples), *missing]
        batch[name] = pad_sequences(labels, length, IGNORED_LABEL)
    return batch
