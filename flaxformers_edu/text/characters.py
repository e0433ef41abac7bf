"""Words as characters, the alphabet of ELMo (Peters et al. 2018): what a model spells, it has read.

A word is 50 numbers: a mark where it begins, its UTF-8 bytes (48 at most), a mark where it ends,
and padding. A byte b is b + 1, for 0 is the mask, of which the words of padding consist. A text is
split at whitespace alone: it must be tokenised, as the corpus of the model was. A sentence begins
and ends with a word of its own, <S> and </S>.

A vocabulary of words is beside that for what a language model predicts; it may be missing.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from flaxformers_edu.errors import InputError
from flaxformers_edu.text.pieces import Pieces
from flaxformers_edu.text.template import Padding, batch_of_ids, longest_first
from flaxformers_edu.text.tokenizer import WORDS_FILE, fingerprint_of, read_model

Characters = tuple[int, ...]
"""A word's numbers."""

MAX_CHARACTERS = 50
"""Numbers of a word, both marks included."""
NUM_CHARACTERS = 262
"""Rows of a table of characters: the mask, 256 bytes, and five marks."""
BEGIN_SENTENCE, END_SENTENCE, BEGIN_WORD, END_WORD, PADDING = range(257, NUM_CHARACTERS)
MASK = 0

BEGIN, END, UNKNOWN = SPECIAL_WORDS = ("<S>", "</S>", "<UNK>")
"""The first words of every vocabulary."""
WORD = re.compile(r"\S+")


def spell(word: str) -> Characters:
    """A word as `MAX_CHARACTERS` numbers; bytes beyond 48 are left out.

    Raises:
        InputError: it is empty, holds whitespace, or a character that has no bytes in UTF-8.
    """
    if not word or not WORD.fullmatch(word):
        raise InputError(f"{word!r} is no word: it must have characters, and no space among them")
    if word in (BEGIN, END):
        spelt = [BEGIN_SENTENCE if word == BEGIN else END_SENTENCE]
    else:
        try:
            spelt = [byte + 1 for byte in word.encode("utf-8")[: MAX_CHARACTERS - 2]]
        except UnicodeEncodeError as error:
            raise InputError(
                f"the word {word!r} has a character outside the alphabet, {word[error.start]!r}: "
                "it has no bytes in UTF-8"
            ) from error
    filled = [BEGIN_WORD, *spelt, END_WORD]
    return (*filled, *[PADDING] * (MAX_CHARACTERS - len(filled)))


def word_of(characters: Iterable[int] | np.ndarray) -> str:
    """The word that is spelt so, "" for one of masks; bytes that were cut apart are replaced."""
    ids = [int(i) for i in characters]
    for mark, word in ((BEGIN_SENTENCE, BEGIN), (END_SENTENCE, END)):
        if mark in ids:
            return word
    return bytes(i - 1 for i in ids if MASK < i < BEGIN_SENTENCE).decode("utf-8", "replace")


class CharacterTokenizer:
    """A `Tokenizer` whose ids are words of characters: `input_ids` are [B, T, 50]."""

    pad_token_id = MASK
    cls_token_id = sep_token_id = mask_token_id = None
    special_ids: frozenset[int] = frozenset()

    def __init__(self, words: Sequence[str] = SPECIAL_WORDS, *, origin: str = "words") -> None:
        """Words that a language model predicts, by frequency, <S>, </S> and <UNK> among them.

        Raises InputError where one of these three is missing, or a word is there twice.
        """
        self.words = tuple(words)
        self._numbers = {word: number for number, word in enumerate(self.words)}
        for word in SPECIAL_WORDS:
            if word not in self._numbers:
                raise InputError(
                    f"{origin} has no {word}; a vocabulary begins with {SPECIAL_WORDS}"
                )
        if len(self._numbers) != len(self.words):
            twice = next(word for word, count in Counter(self.words).items() if count > 1)
            raise InputError(f"{origin} has the word {twice!r} more than once")
        self._spelt: dict[str, Characters] = {}

    @classmethod
    def from_file(cls, path: str | Path) -> "CharacterTokenizer":
        """Reads a vocabulary, a word a line.

        Raises InputError where the file is missing or broken.
        """
        try:
            text = read_model(Path(path)).decode("utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"{path} is not UTF-8: {error}") from error
        return cls(text.removesuffix("\n").split("\n"), origin=str(path))

    @property
    def vocab_size(self) -> int:
        """Words that it knows by number."""
        return len(self.words)

    @property
    def knows_words(self) -> bool:
        """Whether it has a vocabulary: without one it can spell, and no more."""
        return len(self.words) > len(SPECIAL_WORDS)

    @property
    def bos_token_id(self) -> int:
        """Number of the word that begins a sentence."""
        return self._numbers[BEGIN]

    @property
    def eos_token_id(self) -> int:
        """Number of the word that ends a sentence."""
        return self._numbers[END]

    @property
    def unk_token_id(self) -> int:
        """Number of all words outside the vocabulary."""
        return self._numbers[UNKNOWN]

    @cached_property
    def starts_word(self) -> np.ndarray:
        """Every word begins one, bool [vocab_size]."""
        return np.ones(self.vocab_size, np.bool_)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the vocabulary's file, in hex."""
        return fingerprint_of(self._file())

    def __call__(
        self,
        texts: str | Sequence[str] | Sequence[Sequence[str]],
        text_pairs: str | Sequence[str] | None = None,
        *,
        padding: Padding = True,
        max_length: int | None = None,
        truncation: bool = False,
    ) -> dict[str, np.ndarray]:
        """See `Tokenizer.__call__`: `input_ids` [B, T, 50] and `attention_mask` [B, T], with <S>
        and </S> around each text. A text may be a list of words.

        Raises InputError for a text without words, too.
        """
        texts_a = self._texts(texts)
        texts_b = None if text_pairs is None else self._texts(text_pairs)
        if texts_b is not None and len(texts_a) != len(texts_b):
            raise InputError(f"there are {len(texts_a)} texts but {len(texts_b)} text_pairs")
        rows = []
        for index, words_a in enumerate(texts_a):
            words_b = None if texts_b is None else texts_b[index]
            if truncation and max_length is not None:
                room = max(max_length - self.num_special(words_b is not None), 0)
                kept_a, kept_b = longest_first(len(words_a), len(words_b or ()), room)
                words_a, words_b = words_a[:kept_a], words_b and words_b[:kept_b]
            rows.append(self.join(words_a, words_b)[0])
        return batch_of_ids(
            rows, pad_token_id=MASK, padding=padding, max_length=max_length, width=MAX_CHARACTERS
        )

    def _texts(self, texts: str | Sequence[Any]) -> list[list[Any]]:
        found = []
        for index, text in enumerate([texts] if isinstance(texts, str) else texts):
            words = text.split() if isinstance(text, str) else list(text)
            if not words:
                raise InputError(f"text {index} has no words: {text!r}")
            try:
                found.append([self._of(word) for word in words])
            except InputError as error:
                raise InputError(f"text {index}: {error}") from error
        return found

    def _of(self, word: str) -> Characters:
        """`spell`, once for each word."""
        if word not in self._spelt:
            self._spelt[word] = spell(word)
        return self._spelt[word]

    def join(
        self, ids_a: Sequence[Any], ids_b: Sequence[Any] | None = None
    ) -> tuple[list[Any], list[int]]:
        """(words, token_type_ids) of one text or two, each between <S> and </S>."""
        rows = [[self._of(BEGIN), *ids, self._of(END)] for ids in (ids_a, ids_b) if ids is not None]
        types = [number for number, row in enumerate(rows) for _ in row]
        return [word for row in rows for word in row], types

    def num_special(self, pair: bool) -> int:
        """Words that `join` adds."""
        return 4 if pair else 2

    def with_task_tokens(self) -> Any:
        """Raises InputError: GPT-1's tokens have no characters."""
        raise InputError("tokenizer.task_tokens are for other tokenisers: unset it")

    def pieces(self, text: str) -> Pieces:
        """A text's words, spelt, with their places in it.

        Raises InputError for a text that has none.
        """
        found = list(WORD.finditer(text))
        if not found:
            raise InputError(f"the text has no words: {text!r}")
        ids: list[Any] = [self._of(match[0]) for match in found]
        return Pieces(ids, [match.span() for match in found])

    def encode(self, text: str, *, add_eos: bool = True) -> list[Any]:
        """The words of a text, spelt, and </S>."""
        return [*self.pieces(text).ids, *([self._of(END)] if add_eos else [])]

    def word_ids(self, words: Iterable[str]) -> list[int]:
        """The number of each word in the vocabulary, that of <UNK> for others."""
        return [self._numbers.get(word, self.unk_token_id) for word in words]

    def decode(self, ids: Iterable[Any] | np.ndarray) -> str:
        """Words between spaces; <S>, </S> and padding are left out."""
        return " ".join(word for word in self.tokens(ids) if word not in ("", BEGIN, END))

    def tokens(self, ids: Iterable[Any] | np.ndarray) -> list[str]:
        """Each word as text; of numbers of the vocabulary, its words."""
        found = list(ids)
        return [self.words[int(i)] if np.ndim(i) == 0 else word_of(i) for i in found]

    def save(self, folder: str | Path) -> None:
        """Writes the vocabulary, a word a line."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / WORDS_FILE).write_bytes(self._file())

    def _file(self) -> bytes:
        return ("\n".join(self.words) + "\n").encode()


def train_words(texts: Iterable[str], *, vocab_size: int) -> CharacterTokenizer:
    """A vocabulary of the commonest words between spaces, by frequency, then by the alphabet.

    Raises InputError for a corpus without words, and a size that has no room for any.
    """
    counts = Counter(word for text in texts for word in text.split())
    for word in SPECIAL_WORDS:
        counts.pop(word, None)
    if not counts:
        raise InputError("cannot train a tokeniser: the corpus is empty")
    if vocab_size <= len(SPECIAL_WORDS):
        raise InputError(f"vocab_size={vocab_size} must be more than {len(SPECIAL_WORDS)}")
    ordered = sorted(counts, key=lambda word: (-counts[word], word))
    return CharacterTokenizer((*SPECIAL_WORDS, *ordered[: vocab_size - len(SPECIAL_WORDS)]))
