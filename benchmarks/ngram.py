"""An n-gram language model with modified Kneser-Ney smoothing: what a neural one has to beat.

Interpolated, with three discounts for each order (Chen & Goodman 1998, section 3; KenLM has the
same), over token ids, down to the uniform distribution: no token is unknown, so that it compares
with any model of the same text. Counts of the lower orders are of the tokens that a gram is found
behind, not of its occurrences.

Dims: T places of all texts, each behind its marks; G different grams of an order.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FALLBACK = (0.5, 1.0, 1.5)
"""Discounts where some count of counts is zero, as in a corpus of a few words (KenLM's)."""

Ids = Sequence[int] | np.ndarray


@dataclass(frozen=True)
class Grams:
    """The n-grams of an order that the corpus has."""

    keys_G: np.ndarray
    """Number of the gram without its last token, times the tokens there are, plus that token."""
    kept_G: np.ndarray
    """Count, less its discount."""
    total_C: np.ndarray
    """By the gram without its last token: the sum of the counts behind it, 0 where none are."""
    share_C: np.ndarray
    """By the same: the probability that its discounts leave to the order below."""

    def find(self, keys_T: np.ndarray) -> np.ndarray:
        """Numbers of grams by their keys; -1 where the corpus has none, or the key is negative."""
        place_T = np.searchsorted(self.keys_G, keys_T).clip(max=len(self.keys_G) - 1)
        return np.where(self.keys_G[place_T] == keys_T, place_T, -1)


class KneserNey:
    """P(token | the order - 1 tokens before it)."""

    def __init__(self, texts: Sequence[Ids], *, order: int, vocab_size: int) -> None:
        """Counts the n-grams of `texts`, token ids below `vocab_size`."""
        if order < 1 or not any(len(text) for text in texts):
            raise ValueError(f"nothing to count: order {order}, {len(texts)} text(s)")
        self.order = order
        self.vocab_size = vocab_size
        tokens_T = self._marked(texts)
        is_token_T = tokens_T != vocab_size
        keys, numbers = [], [np.zeros(len(tokens_T), np.int64)]
        for _ in range(order):
            # A gram is the gram before its last token, known by its number, and that token.
            found, number_T = np.unique(self._keys(numbers[-1], tokens_T), return_inverse=True)
            keys.append(found)
            numbers.append(number_T)
        # The longest ones are counted, all others by the next longer ones.
        longer: list[np.ndarray | None] = [*numbers[2:], None]
        counts = [
            counts_of(number_T, longer_T, is_token_T)
            for number_T, longer_T in zip(numbers[1:], longer, strict=True)
        ]
        contexts = [1, *map(len, keys)]
        self.grams = list(map(self._smoothed, keys, counts, contexts))

    def log_probs(self, texts: Sequence[Ids]) -> list[np.ndarray]:
        """The log-probability of each token of each text, in nats."""
        tokens_T = self._marked(texts)
        number_T: np.ndarray = np.zeros(len(tokens_T), np.int64)
        probability_T = np.full(len(tokens_T), 1.0 / self.vocab_size)
        for grams in self.grams:
            keys_T = self._keys(number_T, tokens_T)
            context_T = keys_T // (self.vocab_size + 1)
            number_T = grams.find(keys_T)
            total_T = np.where(context_T < 0, 0.0, grams.total_C[context_T])
            kept_T = np.where(number_T < 0, 0.0, grams.kept_G[number_T])
            share_T = np.where(context_T < 0, 0.0, grams.share_C[context_T])
            with np.errstate(invalid="ignore", divide="ignore"):
                mixed_T = kept_T / total_T + share_T * probability_T
            probability_T = np.where(total_T > 0, mixed_T, probability_T)
        found_T = np.log(probability_T[tokens_T != self.vocab_size])
        return np.split(found_T, np.cumsum([len(text) for text in texts])[:-1])

    def _marked(self, texts: Sequence[Ids]) -> np.ndarray:
        """All texts in a row, each behind marks enough that no gram reaches into the one before."""
        marks: np.ndarray = np.full(max(self.order - 1, 1), self.vocab_size, np.int64)
        return np.concatenate([part for text in texts for part in (marks, np.asarray(text))])

    def _keys(self, number_T: np.ndarray, tokens_T: np.ndarray) -> np.ndarray:
        """Keys of the grams that end at each place; those before it end one place earlier."""
        before_T = np.concatenate([number_T[:1], number_T[:-1]])
        keys_T = before_T * (self.vocab_size + 1) + tokens_T
        return np.where(before_T < 0, -1, keys_T)

    def _smoothed(self, keys_G: np.ndarray, counts_G: np.ndarray, contexts: int) -> Grams:
        discounts_G = discounts(counts_G)[np.minimum(counts_G, 3).astype(np.int64)]
        context_G = keys_G // (self.vocab_size + 1)
        total_C = np.bincount(context_G, weights=counts_G, minlength=contexts)
        left_C = np.bincount(context_G, weights=discounts_G, minlength=contexts)
        return Grams(keys_G, counts_G - discounts_G, total_C, left_C / np.maximum(total_C, 1))


def counts_of(
    number_T: np.ndarray, longer_T: np.ndarray | None, is_token_T: np.ndarray
) -> np.ndarray:
    """Of each gram: its occurrences or, given the longer ones, how many of these end with it.

    Grams that end with a mark have none: nothing predicts it.
    """
    size = int(number_T.max()) + 1
    if longer_T is None:
        return np.bincount(number_T, weights=is_token_T, minlength=size)
    _, first_G = np.unique(longer_T, return_index=True)
    return np.bincount(number_T[first_G], weights=is_token_T[first_G], minlength=size)


def discounts(counts_G: np.ndarray) -> np.ndarray:
    """What is taken off a count of 0, 1, 2, and 3 or more."""
    one, two, three, four = (float((counts_G == count).sum()) for count in (1, 2, 3, 4))
    if min(one, two, three, four) == 0:
        return np.array([0.0, *FALLBACK])
    ratio = one / (one + 2 * two)
    found = np.array(
        [0, 1 - 2 * ratio * two / one, 2 - 3 * ratio * three / two, 3 - 4 * ratio * four / three]
    )
    # Small corpora have counts of counts that the formula was not made for.
    return found if (found[1:] > 0).all() else np.array([0.0, *FALLBACK])
