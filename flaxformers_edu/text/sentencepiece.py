"""SentencePiece models (Kudo and Richardson 2018) as tokenisers, ALBERT's among them."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece

from flaxformers_edu.errors import InputError
from flaxformers_edu.text.albert import ALBERT_SPECIAL, prepare_albert
from flaxformers_edu.text.pieces import Pieces, starts_sentencepiece_word, without_spaces
from flaxformers_edu.text.template import FIRST, SECOND, Padding, Template, batch_of_texts
from flaxformers_edu.text.tokenizer import (
    SENTENCEPIECE_FILES,
    fingerprint_of,
    read_config,
    read_model,
    write_config,
)

_ALBERT_SPECIAL = re.compile("({})".format("|".join(map(re.escape, ALBERT_SPECIAL))))


class SentencePieceTokenizer:
    """A sentencepiece model as a `Tokenizer`: pieces, then the end token.

    A model with the pieces [CLS] and [SEP] is one of ALBERT's: it has that family's template,
    reads its special tokens where they stand in a text, and prepares text as its script does.
    """

    def __init__(
        self,
        model: bytes,
        config: Mapping[str, Any] | None = None,
        *,
        origin: str = "the model given",
    ) -> None:
        """Read a serialised model, and what tokenizer_config.json says of it.

        Raises InputError where the bytes are no model.
        """
        self._model = model
        self._config = dict(config or {})
        self._processor = sentencepiece.SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(model)
        except RuntimeError as error:
            raise InputError(f"{origin} is not a sentencepiece model, or is truncated") from error
        self._special = {
            piece: index
            for piece in ALBERT_SPECIAL
            if self._processor.is_control(index := self._processor.piece_to_id(piece))
        }
        self._is_albert = {"[CLS]", "[SEP]"} <= self._special.keys()
        named = (self.pad_token_id, self.bos_token_id, self.eos_token_id)
        self._skipped = {index for index in named if index is not None}

    @classmethod
    def from_file(cls, path: str | Path) -> "SentencePieceTokenizer":
        """Read a model file, and the tokenizer_config.json beside it, if there is one.

        Raises InputError where a file is missing or broken.
        """
        path = Path(path)
        return cls(read_model(path), read_config(path.parent), origin=str(path))

    def __getstate__(self) -> tuple[bytes, dict[str, Any]]:
        """Only the bytes and the configuration: the processor is rebuilt from them."""
        return self._model, self._config

    def __setstate__(self, state: tuple[bytes, dict[str, Any]]) -> None:
        """Rebuild from the bytes and the configuration."""
        self.__init__(*state)  # type: ignore[misc]

    @staticmethod
    def _id_or_none(index: int) -> int | None:
        return None if index < 0 else index

    @property
    def vocab_size(self) -> int:
        """Number of pieces, special ones included."""
        return self._processor.get_piece_size()

    @property
    def pad_token_id(self) -> int | None:
        """Id that fills a row up."""
        return self._id_or_none(self._processor.pad_id())

    @property
    def bos_token_id(self) -> int | None:
        """Id that begins a sequence."""
        return self._special.get("[CLS]", self._id_or_none(self._processor.bos_id()))

    @property
    def eos_token_id(self) -> int | None:
        """Id that ends a sequence."""
        return self._special.get("[SEP]", self._id_or_none(self._processor.eos_id()))

    @property
    def unk_token_id(self) -> int | None:
        """Id of what no piece spells."""
        return self._id_or_none(self._processor.unk_id())

    @property
    def cls_token_id(self) -> int | None:
        """Id of the token whose state stands for the whole text."""
        return self._special.get("[CLS]")

    @property
    def sep_token_id(self) -> int | None:
        """Id that ends a text and stands between two."""
        return self._special.get("[SEP]")

    @property
    def mask_token_id(self) -> int | None:
        """Id that stands for a token to be guessed."""
        return self._special.get("[MASK]")

    @property
    def special_ids(self) -> frozenset[int]:
        """Ids that stand for no text: all control pieces."""
        return frozenset(i for i in range(self.vocab_size) if self._processor.is_control(i))

    @cached_property
    def starts_word(self) -> np.ndarray:
        """Whether a piece begins a word, bool [vocab_size]: one with a space before it, or of
        punctuation alone.
        """
        pieces = self.tokens(range(self.vocab_size))
        return np.array([starts_sentencepiece_word(piece) for piece in pieces])

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the model's bytes, in hex."""
        return fingerprint_of(self._model)

    @cached_property
    def _template(self) -> Template:
        end = () if self.eos_token_id is None else (self.eos_token_id,)
        if not self._is_albert:
            ends = tuple((index, 0) for index in end)
            return Template(((FIRST, 0), *ends), ((FIRST, 0), *ends, (SECOND, 0), *ends))
        cls, sep = self._special["[CLS]"], self._special["[SEP]"]
        single = ((cls, 0), (FIRST, 0), (sep, 0))
        return Template(single, (*single, (SECOND, 1), (sep, 1)))

    def __call__(
        self,
        texts: str | Sequence[str],
        text_pairs: str | Sequence[str] | None = None,
        *,
        padding: Padding = True,
        max_length: int | None = None,
        truncation: bool = False,
    ) -> dict[str, np.ndarray]:
        """See `Tokenizer.__call__`. A text that is cut keeps its special tokens."""
        return batch_of_texts(
            self._template,
            self._plain(texts),
            None if text_pairs is None else self._plain(text_pairs),
            pad_token_id=self.pad_token_id,
            padding=padding,
            max_length=max_length,
            truncation=truncation,
            token_types=self._is_albert,
        )

    def _plain(self, texts: str | Sequence[str]) -> list[list[int]]:
        texts = [texts] if isinstance(texts, str) else texts
        return [self.encode(text, add_eos=False) for text in texts]

    def join(
        self, ids_a: Sequence[int], ids_b: Sequence[int] | None = None
    ) -> tuple[list[int], list[int]]:
        """(input_ids, token_type_ids) of one text or two: ALBERT's, or each with its end token."""
        return self._template.join(ids_a, ids_b)

    def num_special(self, pair: bool) -> int:
        """Special tokens that `join` adds."""
        return self._template.num_special(pair)

    def pieces(self, text: str) -> Pieces:
        """A text's pieces with their places in it, without special tokens around them."""
        ids: list[int] = []
        spans: list[tuple[int, int]] = []
        for start, part in self._parts(text):
            if part in self._special:
                ids.append(self._special[part])
                spans.append((start, start + len(part)))
                continue
            prepared, origins = part, [*range(len(part))]
            if self._is_albert:
                prepared, origins = prepare_albert(part, self._config)
            edges = [*origins, len(part)]
            found = self._processor.encode(prepared, return_type="offset_mapping")
            ids += found["ids"]
            for first, behind in found["offsets"]:
                # Up to its last character's origin: what was dropped behind that is nobody's.
                end = edges[behind - 1] + 1 if behind > first else edges[first]
                spans.append((start + edges[first], start + end))
        return Pieces(ids, without_spaces(spans, text))

    def _parts(self, text: str) -> Iterator[tuple[int, str]]:
        """Stretches of a text, ALBERT's special tokens apart from the rest, each with its start."""
        if not self._is_albert:
            yield 0, text
            return
        start = 0
        for part in _ALBERT_SPECIAL.split(text):
            yield start, part
            start += len(part)

    def encode(self, text: str, *, add_eos: bool = True) -> list[int]:
        """Ids of one text; ends with the end token unless told otherwise."""
        ids: list[int]
        ids = self.pieces(text).ids if self._is_albert else self._processor.encode(text)
        if add_eos and self.eos_token_id is not None:
            ids.append(self.eos_token_id)
        return ids

    def decode(self, ids: Iterable[int] | np.ndarray) -> str:
        """Detokenised text; padding, beginning and end tokens are left out."""
        kept = [int(i) for i in ids]
        return self._processor.decode([i for i in kept if i not in self._skipped])

    def tokens(self, ids: Iterable[int] | np.ndarray) -> list[str]:
        """Piece of each id, U+2581 where a word begins."""
        return [self._processor.id_to_piece(int(i)) for i in ids]

    def save(self, folder: str | Path) -> None:
        """Write spm.model and, where there was one, tokenizer_config.json."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / SENTENCEPIECE_FILES[0]).write_bytes(self._model)
        write_config(folder, self._config)
