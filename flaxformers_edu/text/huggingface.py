"""Tokenisers in Hugging Face's `tokenizer.json`, by the `tokenizers` package."""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers

from flaxformers_edu.errors import InputError
from flaxformers_edu.text.pieces import (
    BYTE_SPACE,
    SPACE,
    Pieces,
    readable,
    starts_sentencepiece_word,
    without_spaces,
)
from flaxformers_edu.text.special_tokens import ids_of_roles
from flaxformers_edu.text.task_tokens import TASK_TOKENS, with_tokens_in_json
from flaxformers_edu.text.template import (
    Padding,
    Template,
    batch_of_texts,
    template_of,
)
from flaxformers_edu.text.tokenizer import (
    HUGGINGFACE_FILE,
    fingerprint_of,
    read_config,
    read_model,
    write_config,
)


class HuggingFaceTokenizer:
    """A tokenizer.json as a `Tokenizer`.

    Calling it applies the file's own template ([CLS] text [SEP], text </s>, or nothing), as the
    model was trained; `encode` gives plain pieces and the end token, for our own templates.
    """

    def __init__(
        self,
        model: bytes,
        config: Mapping[str, Any] | None = None,
        *,
        origin: str = "the tokeniser given",
    ) -> None:
        """Read the bytes of a tokenizer.json, and what tokenizer_config.json says of it.

        Raises InputError where the bytes are no tokeniser or a special token is not in it.
        """
        self._model = model
        self._config = dict(config or {})
        try:
            self._tokenizer = tokenizers.Tokenizer.from_buffer(model)
        except Exception as error:  # the package raises bare Exception
            raise InputError(f"{origin} is not a valid {HUGGINGFACE_FILE}: {error}") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._ids = ids_of_roles(self._config, self._tokenizer.token_to_id, origin)
        self._skipped = {self._ids[role] for role in ("pad", "bos", "eos", "cls", "sep")}
        self._byte_level = '"ByteLevel"' in json.dumps(json.loads(model).get("decoder"))

    @classmethod
    def from_file(cls, path: str | Path) -> "HuggingFaceTokenizer":
        """Read a tokenizer.json and the tokenizer_config.json beside it, if there is one.

        Raises InputError where a file is missing or broken.
        """
        path = Path(path)
        return cls(read_model(path), read_config(path.parent), origin=str(path))

    def __getstate__(self) -> tuple[bytes, dict[str, Any]]:
        """Only the bytes and the configuration."""
        return self._model, self._config

    def __setstate__(self, state: tuple[bytes, dict[str, Any]]) -> None:
        """Rebuild from the bytes and the configuration."""
        self.__init__(*state)  # type: ignore[misc]

    @property
    def vocab_size(self) -> int:
        """Number of ids, added tokens included."""
        return max(self._tokenizer.get_vocab().values(), default=-1) + 1

    @property
    def pad_token_id(self) -> int | None:
        """Id that fills a row up."""
        return self._ids["pad"]

    @property
    def bos_token_id(self) -> int | None:
        """Id of the beginning (or classification) token."""
        return self._ids["bos"]

    @property
    def eos_token_id(self) -> int | None:
        """Id of the end (or separator) token."""
        return self._ids["eos"]

    @property
    def unk_token_id(self) -> int | None:
        """Id of what the vocabulary cannot spell."""
        return self._ids["unk"]

    @property
    def cls_token_id(self) -> int | None:
        """Id of the token whose state stands for the whole text."""
        return self._ids["cls"]

    @property
    def sep_token_id(self) -> int | None:
        """Id that ends a text and stands between two."""
        return self._ids["sep"]

    @property
    def mask_token_id(self) -> int | None:
        """Id that stands for a token to be guessed."""
        return self._ids["mask"]

    @property
    def special_ids(self) -> frozenset[int]:
        """Ids that stand for no text: all special tokens but the unknown one."""
        added = self._tokenizer.get_added_tokens_decoder().items()
        named = {index for index in self._ids.values() if index is not None}
        special = {index for index, token in added if token.special} | named
        return frozenset(special - {self.unk_token_id})

    @cached_property
    def starts_word(self) -> np.ndarray:
        """Whether a piece begins a word, bool [vocab_size]: not one with WordPiece's ## before it,
        but one with a space before it in a byte-level BPE and in sentencepiece's.
        """
        vocabulary = self._tokenizer.get_vocab()
        starts_V: np.ndarray = np.ones(self.vocab_size, np.bool_)
        model = self._tokenizer.model
        marked = any(piece.startswith(SPACE) for piece in vocabulary)
        for piece, index in vocabulary.items():
            if isinstance(model, tokenizers.models.WordPiece):
                starts_V[index] = not piece.startswith(model.continuing_subword_prefix)
            elif self._byte_level:
                starts_V[index] = piece.startswith(BYTE_SPACE)
            elif marked:
                starts_V[index] = starts_sentencepiece_word(piece)
        return starts_V

    @property
    def fingerprint(self) -> str:
        """SHA-256 of tokenizer.json, in hex."""
        return fingerprint_of(self._model)

    @cached_property
    def _template(self) -> Template:
        return template_of(self._tokenizer)

    def __call__(
        self,
        texts: str | Sequence[str],
        text_pairs: str | Sequence[str] | None = None,
        *,
        padding: Padding = True,
        max_length: int | None = None,
        truncation: bool = False,
    ) -> dict[str, np.ndarray]:
        """See `Tokenizer.__call__`."""
        return batch_of_texts(
            self._template,
            self._plain(texts),
            None if text_pairs is None else self._plain(text_pairs),
            pad_token_id=self.pad_token_id,
            padding=padding,
            max_length=max_length,
            truncation=truncation,
            token_types=self._takes_token_types(),
        )

    def _plain(self, texts: str | Sequence[str]) -> list[list[int]]:
        texts = [texts] if isinstance(texts, str) else list(texts)
        return [e.ids for e in self._tokenizer.encode_batch(texts, add_special_tokens=False)]

    def _takes_token_types(self) -> bool:
        names = self._config.get("model_input_names")
        if names is not None:
            return "token_type_ids" in names
        family = str(self._config.get("tokenizer_class", ""))
        if family.startswith(("DistilBert", "Roberta")):
            return False
        return any(
            token_type for _, token_type in self._template.pair if self._template.special_ids
        )

    def join(
        self, ids_a: Sequence[int], ids_b: Sequence[int] | None = None
    ) -> tuple[list[int], list[int]]:
        """(input_ids, token_type_ids) of one text or two, in the file's own template."""
        return self._template.join(ids_a, ids_b)

    def num_special(self, pair: bool) -> int:
        """Special tokens that `join` adds."""
        return self._template.num_special(pair)

    def with_task_tokens(self) -> "HuggingFaceTokenizer":
        """See `Tokenizer.with_task_tokens`."""
        if all(self._tokenizer.token_to_id(token) is not None for token in TASK_TOKENS):
            return self
        # Any other class of theirs would put a template of its own in place of the file's.
        config = {**self._config, "tokenizer_class": "PreTrainedTokenizerFast"}
        return HuggingFaceTokenizer(with_tokens_in_json(self._model), config)

    def pieces(self, text: str) -> Pieces:
        """A text's pieces with their places in it, without special tokens around them."""
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        return Pieces(encoding.ids, without_spaces(encoding.offsets, text))

    def encode(self, text: str, *, add_eos: bool = True) -> list[int]:
        """Plain pieces, without the file's template, then the end token if there is one."""
        ids = list(self._tokenizer.encode(text, add_special_tokens=False).ids)
        if add_eos and self.eos_token_id is not None:
            ids.append(self.eos_token_id)
        return ids

    def decode(self, ids: Iterable[int] | np.ndarray) -> str:
        """Detokenised text; padding, beginning and end tokens are left out."""
        kept = [int(i) for i in ids]
        return self._tokenizer.decode(
            [i for i in kept if i not in self._skipped], skip_special_tokens=False
        )

    def tokens(self, ids: Iterable[int] | np.ndarray) -> list[str]:
        """Piece of each id; bytes of byte-level pieces are shown as the characters they spell."""
        pieces = []
        for i in ids:
            piece = self._tokenizer.id_to_token(int(i))
            if piece is None:
                raise InputError(f"id {int(i)} is not in the vocabulary of {self.vocab_size}")
            pieces.append(readable(piece) if self._byte_level else piece)
        return pieces

    def save(self, folder: str | Path) -> None:
        """Write tokenizer.json and, where there was one, tokenizer_config.json."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / HUGGINGFACE_FILE).write_bytes(self._model)
        write_config(folder, self._config)
