"""Spans of a long text: windows over its pieces, characters to pieces, scores to spans.

Dims: T length of a row.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np


class Span(NamedTuple):
    """Characters `start` up to, not including, `end` of a text."""

    start: int
    end: int


def windows(num_pieces: int, room: int, stride: int) -> list[int]:
    """Where windows of `room` pieces begin, so that every piece is in one; at least one window.

    The last window is the first that reaches the end. A stride that would leave pieces out is
    taken as `room`.

    >>> windows(10, 6, 2), windows(6, 6, 2), windows(10, 4, 9)
    ([0, 2, 4], [0], [0, 4, 8])
    """
    begins = [0]
    while begins[-1] + room < num_pieces:
        begins.append(begins[-1] + min(stride, room))
    return begins


def most_context(begins: Sequence[int], room: int, num_pieces: int) -> list[np.ndarray]:
    """For each window, for each of its pieces: whether no other window has more around it.

    The context of a piece is the smaller of what is on its left and on its right; of windows that
    have as much, the longer and then the first counts (the original BERT's `run_squad.py`).

    >>> [window.tolist() for window in most_context([0, 2], 4, 6)]
    [[True, True, True, False], [False, True, True, True]]
    """
    windows_pieces = [np.arange(begin, min(begin + room, num_pieces)) for begin in begins]
    scores = np.full((len(begins), num_pieces), -np.inf)
    for score, pieces in zip(scores, windows_pieces, strict=True):
        around = np.minimum(pieces - pieces[:1], pieces[-1:] - pieces)
        score[pieces] = around + 0.01 * len(pieces)
    best = scores.argmax(axis=0) if num_pieces else np.zeros(0, int)
    return [best[pieces] == window for window, pieces in enumerate(windows_pieces)]


def pieces_of(span: Span, spans: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
    """First and last of the pieces that share a character with `span`; None where none does.

    spans: the characters of each piece, in their order.
    """
    shared = [
        piece
        for piece, (start, end) in enumerate(spans)
        if start < span.end and end > span.start and start < end
    ]
    return (shared[0], shared[-1]) if shared else None


def best_spans(
    start_logits_T: np.ndarray,
    end_logits_T: np.ndarray,
    row: Mapping[str, np.ndarray],
    *,
    num_best: int,
    max_pieces: int,
) -> dict[Span, float]:
    """Scores of a window's likeliest spans, in characters of the context.

    The `num_best` likeliest first pieces are paired with as many likeliest last pieces; a span's
    score is the sum of the two logits. Spans outside of the context, backwards, of more than
    `max_pieces`, or whose first piece has more context in another window are left out.
    row: `context_begins`, `span_starts`, `span_ends` and `most_context` of the window.
    """
    begins = int(row["context_begins"][0])
    starts, ends = row["span_starts"], row["span_ends"]
    start_logits = start_logits_T[begins : begins + len(starts)]
    end_logits = end_logits_T[begins : begins + len(ends)]
    found: dict[Span, float] = {}
    for first in np.argsort(-start_logits, kind="stable")[:num_best]:
        if not row["most_context"][first]:
            continue
        for last in np.argsort(-end_logits, kind="stable")[:num_best]:
            if first <= last < first + max_pieces and starts[first] < ends[last]:
                span = Span(int(starts[first]), int(ends[last]))
                score = float(start_logits[first]) + float(end_logits[last])
                found[span] = max(score, found.get(span, score))
    return found
