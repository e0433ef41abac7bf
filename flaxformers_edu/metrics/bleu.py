"""BLEU (Papineni et al. 2002): how many n-grams of a translation a reference has, too.

`corpus_bleu` is written to be read; on text that is tokenised by spaces it equals sacrebleu.
`sacrebleu_score` is the one to publish: it tokenises by itself and says how.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from flaxformers_edu.errors import InputError, unknown_name

MAX_ORDER = 4

SMOOTHINGS = ("none", "exp")


@dataclass(frozen=True)
class Bleu:
    """A score and what it is made of."""

    score: float
    """From 0 to 100: 100 · brevity_penalty · geometric mean of the precisions."""
    precisions: tuple[float, ...]
    """Clipped n-gram precisions for n = 1..4, smoothed, from 0 to 100."""
    brevity_penalty: float
    """exp(1 - reference length / hypothesis length), at most 1."""
    hypothesis_length: int
    """In tokens."""
    reference_length: int
    """In tokens; of several references, those closest in length."""


@dataclass(frozen=True)
class _Counts:
    """What a segment contributes; segments add up before anything is divided."""

    matches: tuple[int, ...]
    totals: tuple[int, ...]
    hypothesis_length: int
    reference_length: int

    def __add__(self, other: "_Counts") -> "_Counts":
        return _Counts(
            tuple(a + b for a, b in zip(self.matches, other.matches, strict=True)),
            tuple(a + b for a, b in zip(self.totals, other.totals, strict=True)),
            self.hypothesis_length + other.hypothesis_length,
            self.reference_length + other.reference_length,
        )


_NOTHING = _Counts((0,) * MAX_ORDER, (0,) * MAX_ORDER, 0, 0)


def _ngrams(tokens: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))


def _count(hypothesis: Sequence[str], references: Sequence[Sequence[str]]) -> _Counts:
    """Section 2.1: an n-gram counts no more often than the reference that has most of it has it."""
    matches, totals = [], []
    for n in range(1, MAX_ORDER + 1):
        found = _ngrams(hypothesis, n)
        allowed: Counter[tuple[str, ...]] = Counter()
        for reference in references:
            allowed |= _ngrams(reference, n)
        matches.append((found & allowed).total())
        totals.append(found.total())
    length = len(hypothesis)
    closest = min((len(r) for r in references), key=lambda size: (abs(size - length), size))
    return _Counts(tuple(matches), tuple(totals), length, closest)


def _score(counts: _Counts, smoothing: str, effective_order: bool) -> Bleu:
    """Section 2.3: brevity penalty times the geometric mean of the precisions."""
    if counts.hypothesis_length >= counts.reference_length:
        penalty = 1.0
    elif counts.hypothesis_length == 0:
        penalty = 0.0
    else:
        penalty = math.exp(1.0 - counts.reference_length / counts.hypothesis_length)

    precisions = [0.0] * MAX_ORDER
    order = MAX_ORDER
    halvings = 0
    # Without a single common word there is nothing to smooth.
    if any(counts.matches):
        for n, (matched, total) in enumerate(zip(counts.matches, counts.totals, strict=True)):
            if total == 0:  # The text is shorter than n words.
                break
            if effective_order:
                order = n + 1
            if matched == 0 and smoothing == "exp":
                halvings += 1  # Chen & Cherry 2014, method 3: 1/2, 1/4, ... of a match
                precisions[n] = 100.0 / (2**halvings * total)
            else:
                precisions[n] = 100.0 * matched / total

    used = precisions[:order]
    score = 0.0
    if min(used) > 0:
        score = penalty * math.exp(sum(math.log(p) for p in used) / order)
    return Bleu(
        score, tuple(precisions), penalty, counts.hypothesis_length, counts.reference_length
    )


def _check_smoothing(smoothing: str) -> None:
    if smoothing not in SMOOTHINGS:
        raise unknown_name("smoothing", smoothing, SMOOTHINGS)


def _check_pairs(hypotheses: Sequence, references: Sequence) -> None:
    if len(hypotheses) != len(references):
        raise InputError(
            f"{len(hypotheses)} hypotheses do not pair with {len(references)} references"
        )


def corpus_bleu(
    hypotheses: Sequence[Sequence[str]],
    references: Sequence[Sequence[Sequence[str]]],
    *,
    smoothing: str = "exp",
) -> Bleu:
    """BLEU of a whole corpus: counts are summed over its segments, then divided once.

    Args:
        hypotheses: a list of tokens for each segment.
        references: for each segment one or more lists of tokens.
        smoothing: "none", or "exp": n-gram orders without a match count 1/2, 1/4, ... of one.

    Raises:
        InputError: the two differ in number, or a segment has no reference.
    """
    _check_smoothing(smoothing)
    if len(hypotheses) != len(references):
        raise InputError(
            f"{len(hypotheses)} hypotheses do not pair with {len(references)} references"
        )
    total = _NOTHING
    for number, (hypothesis, refs) in enumerate(zip(hypotheses, references, strict=True)):
        if not refs:
            raise InputError(f"segment {number} has no reference")
        total += _count(hypothesis, refs)
    return _score(total, smoothing, effective_order=False)


def sentence_bleu(
    hypothesis: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    smoothing: str = "exp",
) -> Bleu:
    """BLEU of one segment. n-gram orders for which it is too short are left out of the mean.

    Raises:
        InputError: there is no reference.
    """
    _check_smoothing(smoothing)
    if not references:
        raise InputError("a hypothesis needs one reference at least")
    return _score(_count(hypothesis, references), smoothing, effective_order=True)


class SacreBleu(NamedTuple):
    """A score, and what has to be published with it."""

    score: float
    signature: str


def sacrebleu_score(
    hypotheses: Sequence[str],
    references: Sequence[str],
    *,
    tokenize: str = "13a",
    lowercase: bool = False,
) -> SacreBleu:
    """Corpus BLEU by sacrebleu (Post 2018) on plain text, and the signature to publish with it.

    Args:
        hypotheses: translations, one a segment, detokenised.
        references: one reference a segment.
        tokenize: sacrebleu's tokeniser, e.g. "13a", "intl", "char", "ko-mecab", "none".
        lowercase: whether case is ignored.

    Returns:
        (score from 0 to 100, signature).

    Raises:
        InputError: the two differ in number, or the tokeniser is unknown.
    """
    from sacrebleu.metrics import BLEU

    if len(hypotheses) != len(references):
        raise InputError(
            f"{len(hypotheses)} hypotheses do not pair with {len(references)} references"
        )
    if tokenize not in BLEU.TOKENIZERS:
        raise unknown_name("tokenize", tokenize, BLEU.TOKENIZERS)
    # `force`: text that looks tokenised is the caller's affair, and a library does not print.
    metric = BLEU(tokenize=tokenize, lowercase=lowercase, force=True)
    score = metric.corpus_score(list(hypotheses), [list(references)]).score
    return SacreBleu(score, str(metric.get_signature()))


@dataclass(frozen=True)
class LengthBucket:
    """BLEU of the segments whose length is in [shortest, longest]."""

    shortest: int
    longest: int
    score: float
    num_segments: int


def bleu_by_length(
    hypotheses: Sequence[str],
    references: Sequence[str],
    *,
    lengths: Sequence[int] | None = None,
    edges: Sequence[int] = (5, 10, 15, 20, 30, 40, 60),
    score: Callable[[Sequence[str], Sequence[str]], float] | None = None,
) -> list[LengthBucket]:
    """Corpus BLEU of segments grouped by length; groups without segments are left out.

    Args:
        hypotheses: translations, one a segment.
        references: one a segment.
        lengths: of each segment; None: of the references, in words.
        edges: the longest length of each group but the last, ascending.
        score: from lists of hypotheses and references to a number; None: `sacrebleu_score`.

    Raises:
        InputError: the arguments differ in number, or the edges do not ascend.
    """
    if lengths is None:
        lengths = [len(reference.split()) for reference in references]
    if not len(hypotheses) == len(references) == len(lengths):
        raise InputError(
            f"{len(hypotheses)} hypotheses, {len(references)} references and"
            f" {len(lengths)} lengths do not pair"
        )
    if list(edges) != sorted(set(edges)):
        raise InputError(f"edges={tuple(edges)} must ascend")
    measure = score or (lambda hyps, refs: sacrebleu_score(hyps, refs).score)
    buckets = []
    lower = 0
    for edge in [*edges, max([*lengths, *edges, 0])]:
        inside = [i for i, length in enumerate(lengths) if lower <= length <= edge]
        if inside:
            value = measure([hypotheses[i] for i in inside], [references[i] for i in inside])
            buckets.append(LengthBucket(lower, edge, value, len(inside)))
        lower = edge + 1
    return buckets
