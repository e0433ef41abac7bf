"""ROUGE (Lin 2004): how much of a reference summary a prediction has, and the reverse.

ROUGE-1, ROUGE-2 and ROUGE-L as google's `rouge_score` computes them with its stemmer off.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from flaxformers_edu.errors import InputError

_WORDS = re.compile(r"[a-z0-9]+")

Tokenize = Callable[[str], list[str]]


@dataclass(frozen=True)
class Rouge:
    """One measure of one text, each number from 0 to 1."""

    precision: float
    """The part of the prediction that the reference has."""
    recall: float
    """The part of the reference that the prediction has."""

    @property
    def f1(self) -> float:
        """Their harmonic mean."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


def english_words(text: str) -> list[str]:
    """Runs of ASCII letters and digits in lower case; whatever else there is parts them.

    >>> english_words("TL;DR: it's 4.5 Å")
    ['tl', 'dr', 'it', 's', '4', '5']
    """
    return _WORDS.findall(text.lower())


def rouge_n(prediction: Sequence[str], reference: Sequence[str], n: int) -> Rouge:
    """Overlap of n-grams, each counted as often as both have it (section 2)."""
    said, wanted = _ngrams(prediction, n), _ngrams(reference, n)
    common = (said & wanted).total()
    return Rouge(common / max(said.total(), 1), common / max(wanted.total(), 1))


def rouge_l(prediction: Sequence[str], reference: Sequence[str]) -> Rouge:
    """Longest common subsequence of both texts as a whole (section 3.1)."""
    common = longest_common_subsequence(prediction, reference)
    return Rouge(common / max(len(prediction), 1), common / max(len(reference), 1))


def longest_common_subsequence(one: Sequence[str], other: Sequence[str]) -> int:
    """The length of the longest sequence that both have in this order, gaps allowed."""
    best = [0] * (len(other) + 1)
    for word in one:
        diagonal = 0
        for place, found in enumerate(other, start=1):
            above = best[place]
            best[place] = diagonal + 1 if word == found else max(above, best[place - 1])
            diagonal = above
    return best[-1]


_MEASURES: dict[str, Callable[[Sequence[str], Sequence[str]], Rouge]] = {
    "rouge1": lambda prediction, reference: rouge_n(prediction, reference, 1),
    "rouge2": lambda prediction, reference: rouge_n(prediction, reference, 2),
    "rougeL": rouge_l,
}


def rouge_scores(
    predictions: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    tokenize: Tokenize = english_words,
) -> dict[str, float]:
    """Mean F1 of "rouge1", "rouge2" and "rougeL", from 0 to 100.

    Args:
        predictions: a text each.
        references: for each one or more; the one that suits a measure best counts.
        tokenize: from a text to its words. The default knows no letters but ASCII's, as the
            published scorer; for other scripts `str.split` may do.

    Raises:
        InputError: there is no prediction, the two differ in number, or a reference is lacking.
    """
    if len(predictions) != len(references):
        raise InputError(
            f"{len(predictions)} predictions do not pair with {len(references)} references"
        )
    if not predictions:
        raise InputError("there is no prediction to score")
    totals = dict.fromkeys(_MEASURES, 0.0)
    for number, (prediction, texts) in enumerate(zip(predictions, references, strict=True)):
        if not texts:
            raise InputError(f"prediction {number} has no reference")
        said, wanted = tokenize(prediction), [tokenize(text) for text in texts]
        for name, measure in _MEASURES.items():
            totals[name] += max(measure(said, words).f1 for words in wanted)
    return {name: 100.0 * total / len(predictions) for name, total in totals.items()}


def _ngrams(words: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
