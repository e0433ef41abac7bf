"""Running text as sentences, by punctuation and capitals: English, and what is written like it."""

import re

ABBREVIATIONS = ("e.g.", "i.e.", "etc.", "cf.", "vs.", "Mr.", "Dr.", "No.", "resp.")

_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[]*[A-Z])")


def split_sentences(paragraph: str) -> list[str]:
    """Split after . ! ? before a capital, but not after common abbreviations.

    >>> split_sentences("Use it, e.g. Python does. It works (mostly). Done")
    ['Use it, e.g. Python does.', 'It works (mostly).', 'Done']
    """
    pieces: list[str] = []
    start = 0
    for found in _SENTENCE_END.finditer(paragraph):
        piece = paragraph[start : found.end()].strip()
        if piece.endswith(ABBREVIATIONS) or re.search(r"\b[A-Z]\.$", piece):
            continue
        pieces.append(piece)
        start = found.end()
    rest = paragraph[start:].strip()
    return [*pieces, rest] if rest else pieces
