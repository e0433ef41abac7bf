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
from flaxformers_edu.text.task_tokens import (
    TASK_TOKENS,
    template_with,
    with_tokens_in_sentencepiece,
)
from flaxformers_edu.text.template import (
    FIRST,
    SECOND,
    Padding,
    Slot,
    Template,
    batch_of_texts,
)
from flaxformers_edu.text.tokenizer import (
    LLAMA_FILE,
    SENTENCEPIECE_FILES,
    fingerprint_of,
    read_config,
    read_model,
    write_config,
)

LLAMA_CONFIG = {
    "tokenizer_class": "LlamaTokenizer",
    "add_bos_token": True,
    "add_eos_token": False,
}
"""What a tokenizer.model is where no tokenizer_config.json says otherwise."""

_ALBERT_SPECIAL = re.compile("({})".format("|".join(map(re.escape, ALBERT_SPECIAL))))


class SentencePieceTokenizer:
    """A sentencepiece model as a `Tokenizer`: pieces, then the end token.

    Where `add_bos_token` and `add_eos_token` of tokenizer_config.json say otherwise, that is so:
    Llama's, tokenizer.model, begins a text and does not end it (Touvron et al. 2023).

    A model with the pieces [CLS] and [SEP] is one of ALBERT's: it has that family's template,
    reads its special tokens where they stand in a text, and prepares text as its script does.
    """

    def __init__(
        self,
        model: bytes,
        config: Mapping[str, Any] | None = None,
        *,
        file_name: str = SENTENCEPIECE_FILES[0],
        origin: str = "the model given",
    ) -> None:
        """Read a serialised model, and what tokenizer_config.json says of it.

        file_name: what `save` calls it.

        Raises InputError where the bytes are no model.
        """
        self._model = model
        self._config = dict(config or {})
        self._file_name = file_name
        if file_name == LLAMA_FILE:
            self._config = {**LLAMA_CONFIG, **self._config}
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
        name = path.name if path.name in SENTENCEPIECE_FILES else SENTENCEPIECE_FILES[0]
        return cls(read_model(path), read_config(path.parent), file_name=name, origin=str(path))

    def __getstate__(self) -> tuple[bytes, dict[str, Any], str]:
        """Only the bytes and the configuration: the processor is rebuilt from them."""
        return self._model, self._config, self._file_name

    def __setstate__(self, state: tuple[bytes, dict[str, Any], str]) -> None:
        """Rebuild from the bytes and the configuration."""
        model, config, file_name = state
        self.__init__(model, config, file_name=file_name)  # type: ignore[misc]

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
        if self._has_task_tokens:
            return template_with(*map(self._processor.piece_to_id, TASK_TOKENS))
        if not self._is_albert:
            before = self._added("add_bos_token", self.bos_token_id, usually=False)
            behind = self._added("add_eos_token", self.eos_token_id, usually=True)
            single = (*before, (FIRST, 0), *behind)
            return Template(single, (*single, *before, (SECOND, 0), *behind))
        cls, sep = self._special["[CLS]"], self._special["[SEP]"]
        single = ((cls, 0), (FIRST, 0), (sep, 0))
        return Template(single, (*single, (SECOND, 1), (sep, 1)))

    def _added(self, key: str, index: int | None, *, usually: bool) -> tuple[Slot, ...]:
        """The place in the template of a token that the configuration may want or not."""
        return ((index, 0),) if self._config.get(key, usually) and index is not None else ()

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

    @property
    def _has_task_tokens(self) -> bool:
        return all(map(self._processor.is_control, map(self._processor.piece_to_id, TASK_TOKENS)))

    def with_task_tokens(self) -> "SentencePieceTokenizer":
        """See `Tokenizer.with_task_tokens`."""
        if self._has_task_tokens:
            return self
        model = with_tokens_in_sentencepiece(self._model)
        return SentencePieceTokenizer(model, self._config, file_name=self._file_name)

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
        """Write the model, as it was called, and, where there is one, tokenizer_config.json."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / self._file_name).write_bytes(self._model)
        write_config(folder, self._config)
