"""What single pieces say: where they lie in a text, whether they begin a word, how they read."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

SPACE = "\u2581"  # sentencepiece's mark of a space
BYTE_SPACE = "\u0120"  # GPT-2's stand-in for a space


@dataclass(frozen=True)
class Pieces:
    """A text as pieces, without special tokens around it."""

    ids: list[Any]
    """Token ids; of a tokeniser that reads characters, the numbers of a word."""
    spans: list[tuple[int, int]]
    """[start, end) of each piece in characters of the text; spaces before a piece are left out."""


def without_spaces(spans: Iterable[Sequence[int]], text: str) -> list[tuple[int, int]]:
    """Spans that begin behind the spaces they began with."""
    trimmed = []
    for start, end in spans:
        while start < end and text[start].isspace():
            start += 1
        trimmed.append((start, end))
    return trimmed


def starts_sentencepiece_word(piece: str) -> bool:
    """A piece with a space before it, or of punctuation alone, as in ALBERT's script."""
    return piece.startswith(SPACE) or not any(character.isalnum() for character in piece)


def readable(piece: str) -> str:
    """A byte-level piece as the characters its bytes spell; parts of a character as <0xEA>."""
    table = _byte_of_character()
    if any(character not in table for character in piece):
        return piece  # an added token, which is kept as text
    raw = bytes(table[character] for character in piece)
    # Part of a character has no text of its own: its bytes are shown, as sentencepiece does.
    parts = raw.decode("utf-8", errors="surrogateescape")
    shown = (f"<0x{ord(c) - 0xDC00:02X}>" if 0xDC80 <= ord(c) <= 0xDCFF else c for c in parts)
    return "".join(shown).replace(" ", SPACE)


@cache
def _byte_of_character() -> dict[str, int]:
    """GPT-2's printable stand-ins: bytes that print stand for themselves, others from U+0100."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in printable]
    return {chr(b): b for b in printable} | {chr(0x100 + n): b for n, b in enumerate(others)}
