"""Text out of tokens that come one after the other, and the strings at which it ends."""

from collections.abc import Iterable, Sequence

from flaxformers_edu.text.tokenizer import Tokenizer

CONTEXT = 8
"""Tokens before the new ones that are decoded with them: spaces and bytes need their neighbours."""
INCOMPLETE = "\N{REPLACEMENT CHARACTER}"
"""What a part of a character decodes to."""


class TextStream:
    """Tokens in, text out, as far as later tokens can no longer change it.

    A piece's text depends on those before it (a first one loses its space, bytes of a character
    may be spread over several), so a few tokens are decoded with and without the new ones; what is
    more in the one than in the other is new. The cost of a token does not grow with the text.
    """

    def __init__(self, tokenizer: Tokenizer, context: Sequence[int] = ()) -> None:
        """`context` are the tokens that the new ones follow, whose text is not given again."""
        self._tokenizer = tokenizer
        self._tokens = [int(token) for token in context[-CONTEXT:]]
        self._begin, self._told = 0, len(self._tokens)

    def add(self, tokens: Iterable[int]) -> str:
        """The text that these tokens complete; "" while a character is not whole."""
        self._tokens += [int(token) for token in tokens]
        before, text = self._decoded()
        if text.endswith(INCOMPLETE) or len(text) <= len(before):
            return ""
        self._told = len(self._tokens)
        self._begin = max(0, self._told - CONTEXT)
        return text[len(before) :]

    def rest(self) -> str:
        """What was held back: a character that was never completed."""
        before, text = self._decoded()
        return text[len(before) :]

    def _decoded(self) -> tuple[str, str]:
        told = self._tokenizer.decode(self._tokens[self._begin : self._told])
        # Of a context that ends within a character, the character is the new tokens'.
        told = told.rstrip(INCOMPLETE)
        return told, self._tokenizer.decode(self._tokens[self._begin :])


def text_of(tokenizer: Tokenizer, context: Sequence[int], tokens: Sequence[int]) -> str:
    """The text of tokens that follow a context, which is not given again."""
    stream = TextStream(tokenizer, context)
    return stream.add(tokens) + stream.rest()


class StopStrings:
    """Text in, text out, up to the first of some strings, which is not given itself."""

    def __init__(self, strings: Sequence[str]) -> None:
        self._strings = tuple(strings)
        self._held = ""
        self.met = False
        """Whether one of the strings has come: there is no more text."""

    def add(self, text: str) -> str:
        """The text that is certainly before a stop string."""
        if self.met:
            return ""
        text = self._held + text
        places = [place for s in self._strings if (place := text.find(s)) >= 0]
        if places:
            self.met, self._held = True, ""
            return text[: min(places)]
        begun = max((_overlap(text, string) for string in self._strings), default=0)
        self._held = text[len(text) - begun :]
        return text[: len(text) - begun]

    def rest(self) -> str:
        """What was held back, as it might have begun a stop string."""
        text, self._held = self._held, ""
        return text


def _overlap(text: str, string: str) -> int:
    """How many characters at the end of the text begin the string."""
    most = min(len(text), len(string) - 1)
    return next((n for n in range(most, 0, -1) if text.endswith(string[:n])), 0)
