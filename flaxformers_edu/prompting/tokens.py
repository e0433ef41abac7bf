"""Contexts and their continuations as token ids."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from flaxformers_edu.errors import InputError
from flaxformers_edu.interop import Pretrained
from flaxformers_edu.text.tokenizer import Tokenizer, beginning

Ids = tuple[int, ...]


@dataclass(frozen=True)
class Query:
    """A context, of one token at least, and texts that may follow it."""

    context: Ids
    continuations: tuple[Ids, ...]

    @property
    def longest(self) -> int:
        """Tokens of the longest continuation."""
        return max(map(len, self.continuations))

    @property
    def length(self) -> int:
        """Tokens that a model reads of it: the last one of a continuation is only predicted."""
        return len(self.context) + self.longest - 1


@dataclass(frozen=True)
class Reader:
    """A tokeniser, and the token that stands before a text."""

    tokenizer: Tokenizer
    begin: Ids = ()
    """Tokens that every context begins with."""

    @classmethod
    def of(cls, pretrained: Pretrained) -> "Reader":
        """The reader of a model: contexts begin as the tokeniser's own template begins a text.

        Raises:
            InputError: the model has no tokeniser.
        """
        if pretrained.tokenizer is None:
            raise InputError("the model has no tokeniser")
        return cls(pretrained.tokenizer, _beginning(pretrained.tokenizer))

    def encode(self, text: str) -> Ids:
        """A text without special tokens."""
        return tuple(self.tokenizer.encode(text, add_eos=False))

    @property
    def empty_context(self) -> Ids:
        """What a text is predicted from that nothing comes before.

        Raises:
            InputError: the tokeniser has no token for a text's beginning or end.
        """
        return self.begin or beginning(self.tokenizer)

    def context(self, text: str) -> Ids:
        """A text that is to be continued."""
        return (*self.begin, *self.encode(text)) or self.empty_context

    def query(self, context: str, continuations: Sequence[str]) -> Query:
        """A context and its continuations, as they are read when they stand together.

        White space at the end of the context goes to the continuations, for a tokeniser that reads
        words with the space before them. Where context and continuation melt into one token, the
        context ends before it for all of them, so that all are scored behind the same tokens.

        Raises:
            InputError: a continuation of which no token is left.
        """
        bare = context.rstrip()
        spaces = context[len(bare) :]
        context_ids = self.encode(bare) if bare else ()
        wholes = [self.encode(bare + spaces + text) for text in continuations]
        shared = len(context_ids)
        for whole in wholes:
            pairs = zip(context_ids, whole, strict=False)
            shared = min(shared, sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs)))
        rests = tuple(whole[shared:] for whole in wholes)
        for text, rest in zip(continuations, rests, strict=True):
            if not rest or not self.encode(text):
                raise InputError(f"the candidate {text!r} has no tokens")
        kept = (*self.begin, *context_ids[:shared])
        return Query(kept or self.empty_context, rests)


def _beginning(tokenizer: Tokenizer) -> Ids:
    """What the tokeniser's template puts before a text, without what it puts behind it."""
    around, _ = tokenizer.join([])
    return tuple(around[:-1] if around and around[-1] == tokenizer.eos_token_id else around)
