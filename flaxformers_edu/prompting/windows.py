"""Perplexity of a text that is longer than a model reads: a window that slides over it."""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from flaxformers_edu.errors import InputError
from flaxformers_edu.prompting.scoring import Scorer
from flaxformers_edu.prompting.tokens import Ids, Query, Reader

_SPACE = re.compile(r"\s+")


def windows(begin: Ids, ids: Sequence[int], *, length: int, stride: int = 0) -> Iterator[Query]:
    """A text in pieces, each predicted from what stands before it in its window.

    The first window predicts `length` tokens from `begin` and each other; every later one the next
    `stride`, from the `length` tokens that end before its last one. All tokens are predicted once.

    Args:
        begin: what stands before the text.
        ids: the text.
        length: tokens that a window reads.
        stride: tokens by which it moves; 0: `length`, so that only one token of context is left.

    Raises:
        InputError: a stride over the length, or a beginning that is as long as a window.
    """
    stride = stride or length
    if not 1 <= stride <= length:
        raise InputError(f"stride is {stride}; it must be from 1 to the window's length, {length}")
    if len(begin) > length:
        raise InputError(f"{len(begin)} tokens before a text leave no room in windows of {length}")
    whole = (*begin, *ids)
    first, end = len(begin), min(length + 1, len(whole))
    while first < len(whole):
        start = max(0, end - 1 - length)
        yield Query(whole[start:first], (whole[first:end],))
        first, end = end, min(end + stride, len(whole))


@dataclass(frozen=True)
class TextLikelihood:
    """What a model says of running text; those of several texts add up."""

    log_likelihood: float = 0.0
    """In nats."""
    tokens: int = 0
    words: int = 0
    """Parted by white space."""
    bytes: int = 0
    """Of UTF-8."""

    @classmethod
    def of(cls, text: str, log_likelihoods: Iterable[float], tokens: int) -> "TextLikelihood":
        """Of a text whose windows have these log-likelihoods."""
        words = len(_SPACE.split(text))
        return cls(math.fsum(log_likelihoods), tokens, words, len(text.encode()))

    def __add__(self, other: "TextLikelihood") -> "TextLikelihood":
        return TextLikelihood(
            self.log_likelihood + other.log_likelihood,
            self.tokens + other.tokens,
            self.words + other.words,
            self.bytes + other.bytes,
        )

    @property
    def measures(self) -> dict[str, float]:
        """Perplexities by what the log-likelihood is divided by, and bits per byte.

        Those per word and per byte compare models with different vocabularies.
        """
        nats = -self.log_likelihood
        return {
            "token_perplexity": _exp(nats / self.tokens),
            "word_perplexity": _exp(nats / self.words),
            "byte_perplexity": _exp(nats / self.bytes),
            "bits_per_byte": nats / self.bytes / math.log(2),
        }


def text_likelihoods(
    reader: Reader, scorer: Scorer, texts: Sequence[str], *, stride: int = 0
) -> list[TextLikelihood]:
    """How likely texts are, however long, by a window that slides over each.

    Raises:
        InputError: a stride that is more than the model reads.
    """
    length, begin = scorer.max_length, reader.empty_context
    pieces = [list(windows(begin, reader.encode(t), length=length, stride=stride)) for t in texts]
    found = iter(scorer([piece for some in pieces for piece in some]))
    likelihoods = []
    for text, some in zip(texts, pieces, strict=True):
        of_text = [next(found)[0] for _ in some]
        tokens = sum(one.tokens for one in of_text)
        likelihoods.append(TextLikelihood.of(text, (o.log_likelihood for o in of_text), tokens))
    return likelihoods


def _exp(nats: float) -> float:
    return math.exp(nats) if nats < 700 else math.inf
