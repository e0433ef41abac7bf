"""Two segments of text whose relation is to be told, made as the published data scripts make them.

BERT's next sentence (create_pretraining_data.py of google-research/bert) and ALBERT's sentence
order (the same of google-research/albert). Pure numpy: the same generator gives the same pairs.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from flaxformers_edu.errors import InputError
from flaxformers_edu.objectives.documents import Document
from flaxformers_edu.text.template import longest_first

Pair = tuple[np.ndarray, np.ndarray, int]
KINDS = ("nsp", "sop")
IN_ORDER, OTHER = 0, 1
"""The second segment follows the first; it does not (a random one, or the two are swapped)."""


def sentence_pairs(
    documents: Sequence[Document],
    rng: np.random.Generator,
    *,
    kind: str,
    room: int,
    short_fraction: float = 0.1,
) -> Iterator[Pair]:
    """Segments (a, b, label) of all documents, at most `room` ids together.

    Sentences of a document are gathered until they reach a length, which is `room` or, for a share
    of `short_fraction`, any from 2 on; then they are cut in two at a random sentence. "nsp": in
    half of the cases a random stretch of another document stands in for the second half, whose
    sentences are used again. "sop": in half of the cases the two are swapped; a lone sentence gets
    a stretch of another document, as in ALBERT's script.

    Raises InputError where there are not two documents.
    """
    if len(documents) < 2:
        raise InputError(
            f"pairs of sentences need at least 2 documents, and there are {len(documents)}"
        )
    for index in range(len(documents)):
        for a, b, label in _pairs_of(documents, index, rng, kind, room, short_fraction):
            yield *_cut(a, b, room, rng), label


def _pairs_of(
    documents: Sequence[Document],
    index: int,
    rng: np.random.Generator,
    kind: str,
    room: int,
    short_fraction: float,
) -> Iterator[Pair]:
    document = documents[index]
    place = 0
    while place < len(document):
        short = rng.random() < short_fraction
        target = int(rng.integers(2, room + 1)) if short else room
        end = _reach(document, place, target)
        chunk = document[place:end]
        half = int(rng.integers(1, len(chunk))) if len(chunk) > 1 else 1
        a = np.concatenate(chunk[:half])
        drawn = rng.random() < 0.5
        if len(chunk) == 1 or (kind == "nsp" and drawn):
            b = _elsewhere(documents, index, max(1, target - len(a)), rng)
            yield a, b, OTHER
            place += half  # the rest of the chunk is not used up
            continue
        b = np.concatenate(chunk[half:])
        yield (b, a, OTHER) if drawn else (a, b, IN_ORDER)
        place = end


def _reach(document: Document, start: int, target: int) -> int:
    """The sentence behind those from `start` that have `target` ids together, or all there are."""
    length = 0
    for place in range(start, len(document)):
        length += len(document[place])
        if length >= target:
            return place + 1
    return len(document)


def _elsewhere(
    documents: Sequence[Document], index: int, target: int, rng: np.random.Generator
) -> np.ndarray:
    """A stretch of another document, from a random sentence on."""
    other = int(rng.integers(len(documents) - 1))
    document = documents[other + (other >= index)]
    start = int(rng.integers(len(document)))
    return np.concatenate(document[start : _reach(document, start, target)])


def _cut(
    a: np.ndarray, b: np.ndarray, room: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The longer one loses ids until both fit, each at its front or its back by chance."""
    kept_b, kept_a = longest_first(len(b), len(a), room)
    front_a = int(rng.binomial(len(a) - kept_a, 0.5))
    front_b = int(rng.binomial(len(b) - kept_b, 0.5))
    return a[front_a : front_a + kept_a], b[front_b : front_b + kept_b]
