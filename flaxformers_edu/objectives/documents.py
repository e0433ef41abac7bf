"""A corpus as documents of sentences of ids, and its rows for pre-training."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from flaxformers_edu.errors import InputError
from flaxformers_edu.objectives.base import JudgedByLoss
from flaxformers_edu.objectives.masking import Masking
from flaxformers_edu.objectives.rows import Row, collate_rows, numbers
from flaxformers_edu.text.batching import IGNORED_LABEL, pad_sequences
from flaxformers_edu.text.sentences import split_sentences
from flaxformers_edu.text.tokenizer import Tokenizer

Document = list[np.ndarray]
SPECIAL, BEGINS, CONTINUES = 0, 1, 2  # what `maskable` says of a token


def sentences_of(example: Mapping[str, Any]) -> list[str]:
    """The "sentences" of an example or, where it has none, those of the lines of its "text"."""
    if "sentences" in example:
        return list(example["sentences"])
    return [found for line in example["text"].splitlines() for found in split_sentences(line)]


class Documents(Sequence):
    """Documents as sentences of ids: one flat array, and where sentences and documents end."""

    def __init__(self, documents: Iterable[Iterable[Sequence[int]]]) -> None:
        """Documents without any token are left out."""
        flat: list[np.ndarray] = []
        ends, last_sentences = [0], [0]
        for document in documents:
            sentences = [np.asarray(ids, np.int32) for ids in document if len(ids)]
            if sentences:
                flat.append(np.concatenate(sentences))
                ends.extend(ends[-1] + np.cumsum([len(ids) for ids in sentences]))
                last_sentences.append(len(ends) - 1)
        self._ids = np.concatenate(flat) if flat else np.zeros(0, np.int32)
        self._ends = np.asarray(ends, np.int64)
        self._last_sentences = np.asarray(last_sentences, np.int64)

    def __len__(self) -> int:
        """Number of documents."""
        return len(self._last_sentences) - 1

    def counts(self, vocab_size: int) -> np.ndarray:
        """How often each token stands in all of them, [vocab_size]."""
        return np.bincount(self._ids, minlength=vocab_size)

    def __getitem__(self, index: int) -> Document:  # type: ignore[override]
        """The sentences of document `index`, int32."""
        first, last = self._last_sentences[range(len(self))[index] :][:2]
        ends = self._ends[first : last + 1]
        return [self._ids[start:end] for start, end in zip(ends[:-1], ends[1:], strict=True)]


def encode_documents(examples: Iterable[Mapping[str, Any]], tokenizer: Tokenizer) -> Documents:
    """The corpus as plain ids.

    Raises InputError where the tokeniser cannot hide a token.
    """
    if tokenizer.mask_token_id is None:
        raise InputError(
            "the tokeniser has no mask token: tokenizer.kind must be wordpiece, albert or byte_bpe"
        )
    return Documents(
        (tokenizer.encode(sentence, add_eos=False) for sentence in sentences_of(example))
        for example in examples
    )


def row_maker(
    tokenizer: Tokenizer, counts_V: np.ndarray | None = None
) -> Callable[..., dict[str, np.ndarray]]:
    """(ids of a text, of its partner or None) -> a row, in the model's own template.

    Its columns are input_ids, token_type_ids and `maskable`, and `counts` of its tokens where those
    of the vocabulary are given. A text begins a word wherever it was cut.
    """
    kind_V = np.where(tokenizer.starts_word, BEGINS, CONTINUES)
    kind_V[list(tokenizer.special_ids)] = SPECIAL

    def row(ids_a: np.ndarray, ids_b: np.ndarray | None = None) -> dict[str, np.ndarray]:
        input_ids, token_type_ids = tokenizer.join(
            ids_a.tolist(), None if ids_b is None else ids_b.tolist()
        )
        ids_T = np.asarray(input_ids, np.int32)
        maskable_T = kind_V[ids_T].astype(np.int32)
        first_T: np.ndarray = np.append(True, maskable_T[:-1] == SPECIAL)
        maskable_T[first_T & (maskable_T == CONTINUES)] = BEGINS
        types_T = np.asarray(token_type_ids, np.int32)
        row = {"input_ids": ids_T, "token_type_ids": types_T, "maskable": maskable_T}
        return row if counts_V is None else {**row, "counts": counts_V[ids_T].astype(np.int32)}

    return row


def collate(
    config: Any, *, packed: bool, labels: bool = False, counts: bool = False
) -> Callable[..., dict]:
    """The function from rows to a batch: what the model reads, `maskable`, and what is asked for.

    That is `sentence_labels` and `counts`.

    Raises InputError where packing is asked for: these rows are full as they are.
    """
    if packed:
        raise InputError("batching.packing is set, but rows of pre-training are full: unset it")
    return partial(_collate, config=config, labels=labels, counts=counts)


def _collate(
    examples: Sequence[Row], rows: int, length: int, *, config: Any, labels: bool, counts: bool
) -> dict[str, np.ndarray]:
    batch = collate_rows(examples, rows, length, config=config)
    missing: list[list[int]] = [[] for _ in range(rows - len(examples))]
    for name in ("maskable", "counts") if counts else ("maskable",):
        column: list[Any] = [example[name] for example in examples]
        batch[name] = pad_sequences([*column, *missing], length, SPECIAL)
    if labels:
        batch["sentence_labels"] = numbers(examples, "sentence_labels", rows, IGNORED_LABEL)
    return batch


@dataclasses.dataclass(frozen=True)
class HiddenTokens(JudgedByLoss):
    """What is learnt from documents whose tokens are hidden in part, anew at every step.

    Examples are {"sentences"} or {"text"}. Objectives say by `encode_corpus` how these become rows,
    and by `loss` what is asked.
    """

    masking: Masking = Masking()
    """What is hidden, and by what."""

    def texts(self, example: Mapping[str, Any]) -> list[str]:
        """What a tokeniser is trained on."""
        return sentences_of(example)

    def collate(self, config: Any, *, packed: bool = False) -> Callable[..., dict]:
        """The function from encoded rows to a batch with `maskable`.

        Raises:
            InputError: packing is asked for.
        """
        return collate(config, packed=packed, counts=self.masking.smoothing > 0)

    def row_maker(
        self, tokenizer: Tokenizer, documents: Documents
    ) -> Callable[..., dict[str, np.ndarray]]:
        """As the function of this name, for rows of these documents."""
        counts_V = documents.counts(len(tokenizer.starts_word)) if self.masking.smoothing else None
        return row_maker(tokenizer, counts_V)

    def shapes(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        """What the model reads, from the shapes of a batch: with the places it predicts."""
        return self.masking.shapes(shapes)
