"""Rows filled with running text, for objectives that look at tokens alone. Pure numpy."""

from collections.abc import Iterator, Sequence

import numpy as np

from flaxformers_edu.objectives.documents import Document


def full_sentences(
    documents: Sequence[Document], *, room: int, separator: int | None
) -> Iterator[np.ndarray]:
    """Whole sentences one after another until the next would exceed `room` ids.

    RoBERTa's FULL-SENTENCES (Liu et al. 2019, section 4.2): a row goes on into the next document,
    behind a separator. A sentence that is longer than a row is cut into several.
    """
    nothing: np.ndarray = np.zeros(0, np.int32)
    row: list[np.ndarray] = []
    length = 0
    for document in documents:
        between = nothing if separator is None or not row else np.array([separator], np.int32)
        for sentence in document:
            for piece in np.split(sentence, range(room, len(sentence), room)):
                if length + len(between) + len(piece) > room:
                    yield np.concatenate(row)
                    row, length, between = [], 0, nothing
                row += [between, piece]
                length += len(between) + len(piece)
                between = nothing
    if row:
        yield np.concatenate(row)


def text_segments(
    documents: Sequence[Document],
    rng: np.random.Generator,
    *,
    max_length: int,
    room_single: int,
    room_pair: int,
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """One or two segments of consecutive text of one document, as ELECTRA reads them.

    After build_pretraining_dataset.py of google-research/electra: 5% of rows aim at a shorter
    length; 10% are one segment, the others are split near the middle.
    """
    for document in documents:
        sentences: Document = []
        length, target = 0, _target(rng, max_length)
        for sentence in document:
            sentences.append(sentence)
            length += len(sentence)
            if length >= target:
                yield _halves(sentences, target, rng, room_single, room_pair)
                sentences, length, target = [], 0, _target(rng, max_length)
        if sentences:
            yield _halves(sentences, target, rng, room_single, room_pair)


def _target(rng: np.random.Generator, max_length: int) -> int:
    short = rng.random() < 0.05 and max_length > 5
    return int(rng.integers(5, max_length + 1)) if short else max_length


def _halves(
    sentences: Document, target: int, rng: np.random.Generator, room_single: int, room_pair: int
) -> tuple[np.ndarray, np.ndarray | None]:
    half = room_single if rng.random() < 0.1 else max(1, (target - 3) // 2)
    length, count = 0, 0
    for sentence in sentences:
        over = length + len(sentence) >= half
        if count and over and (length >= half or rng.random() < 0.5):
            break
        length += len(sentence)
        count += 1
    first = np.concatenate(sentences[:count])[:room_single]
    if count == len(sentences) or len(first) >= room_pair:
        return first, None
    return first, np.concatenate(sentences[count:])[: room_pair - len(first)]
