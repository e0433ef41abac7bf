"""One continuation as it grows, token by token, with what is certain of its text."""

import dataclasses
from collections.abc import Sequence
from typing import Literal

from flaxformers_edu.text.incremental import StopStrings, TextStream
from flaxformers_edu.text.tokenizer import Tokenizer


@dataclasses.dataclass(frozen=True)
class Ends:
    """What a continuation ends with."""

    tokens: tuple[int, ...] = ()
    """End-of-sequence tokens, which are no text."""
    sequences: tuple[tuple[int, ...], ...] = ()
    """Stop sequences, whose text is kept."""
    strings: tuple[str, ...] = ()
    """Stop strings, whose text is not."""


@dataclasses.dataclass(frozen=True)
class Continuation:
    """What a model wrote behind a prompt."""

    text: str
    """Without the prompt, the end-of-sequence token and the stop string."""
    tokens: list[int]
    """The new tokens, up to the one that ended it."""
    ended: Literal["end", "stop", "length"]
    """By an end-of-sequence token, by a stop string or sequence, or by the number of tokens."""


class Line:
    """A continuation behind `context`, until one of `ends` comes."""

    def __init__(self, tokenizer: Tokenizer, context: Sequence[int], ends: Ends) -> None:
        self._stream = TextStream(tokenizer, context)
        self._stop = StopStrings(ends.strings)
        self.ends = ends
        self._text: list[str] = []
        self._tokens: list[int] = []
        self._ended: Literal["end", "stop", ""] = ""

    @property
    def has_ended(self) -> bool:
        """Whether one of the ends has come."""
        return bool(self._ended)

    def add(self, token: int) -> str:
        """The text that is certain with one more token."""
        if self._ended:
            return ""
        self._tokens.append(token)
        if token in self.ends.tokens:
            self._ended = "end"
            return ""
        text = self._stop.add(self._stream.add([token]))
        if self._stop.met or any(self._ends_with(s) for s in self.ends.sequences):
            self._ended = "stop"
        self._text.append(text)
        return text

    def rest(self) -> str:
        """What was held back for what might have followed."""
        text = self._stop.add(self._stream.rest()) + self._stop.rest()
        self._text.append(text)
        return text

    def finished(self) -> Continuation:
        """All of it; nothing is held back any more."""
        self.rest()
        return Continuation("".join(self._text), self._tokens, self._ended or "length")

    def _ends_with(self, sequence: Sequence[int]) -> bool:
        return tuple(self._tokens[-len(sequence) :]) == tuple(sequence)
