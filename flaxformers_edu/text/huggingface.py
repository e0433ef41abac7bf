"""Tokenisers in Hugging Face's `tokenizer.json`, by the `tokenizers` package."""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers

from flaxformers_edu.errors import InputError
from flaxformers_edu.text.tokenizer import (
    HUGGINGFACE_FILE,
    Padding,
    batch_of_ids,
    fingerprint_of,
    read_model,
)

CONFIG_FILE = "tokenizer_config.json"
# Configuration keys of each role, and the names that are usual where no configuration says.
ROLES = {
    "pad": (("pad_token",), ("[PAD]", "<pad>")),
    "bos": (("bos_token", "cls_token"), ("[CLS]", "<s>", "<bos>", "<|endoftext|>")),
    "eos": (("eos_token", "sep_token"), ("[SEP]", "</s>", "<eos>", "<|endoftext|>")),
    "unk": (("unk_token",), ("[UNK]", "<unk>", "<|endoftext|>")),
}


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
        self._ids = {role: self._special(role, origin) for role in ROLES}
        self._skipped = {self._ids[role] for role in ("pad", "bos", "eos")}
        self._byte_level = '"ByteLevel"' in json.dumps(json.loads(model).get("decoder"))

    @classmethod
    def from_file(cls, path: str | Path) -> "HuggingFaceTokenizer":
        """Read a tokenizer.json and the tokenizer_config.json beside it, if there is one.

        Raises InputError where a file is missing or broken.
        """
        path = Path(path)
        config_path = path.with_name(CONFIG_FILE)
        config = {}
        if config_path.is_file():
            try:
                config = json.loads(read_model(config_path))
            except ValueError as error:
                if isinstance(error, InputError):
                    raise
                raise InputError(f"{config_path} is not valid JSON: {error}") from error
        return cls(read_model(path), config, origin=str(path))

    def __getstate__(self) -> tuple[bytes, dict[str, Any]]:
        """Only the bytes and the configuration."""
        return self._model, self._config

    def __setstate__(self, state: tuple[bytes, dict[str, Any]]) -> None:
        """Rebuild from the bytes and the configuration."""
        self.__init__(*state)  # type: ignore[misc]

    def _special(self, role: str, origin: str) -> int | None:
        keys, usual = ROLES[role]
        for key in keys:
            token = self._config.get(key)
            if isinstance(token, Mapping):
                token = token.get("content")
            if token:
                index = self._tokenizer.token_to_id(token)
                if index is None:
                    raise InputError(f"{key}={token!r} of {CONFIG_FILE} is not in {origin}")
                return index
        if any(key in self._config for keys, _ in ROLES.values() for key in keys):
            return None  # the configuration names its special tokens, and has none of this role
        found = (self._tokenizer.token_to_id(token) for token in usual)
        return next((index for index in found if index is not None), None)

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
    def fingerprint(self) -> str:
        """SHA-256 of tokenizer.json, in hex."""
        return fingerprint_of(self._model)

    def __call__(
        self,
        texts: str | Sequence[str],
        *,
        padding: Padding = True,
        max_length: int | None = None,
        truncation: bool = False,
    ) -> dict[str, np.ndarray]:
        """See `Tokenizer.__call__`; adds `token_type_ids` (zeros) where the model takes them."""
        texts = [texts] if isinstance(texts, str) else list(texts)
        encodings = self._tokenizer.encode_batch(texts)
        if truncation and max_length is not None:
            room = max_length - self._tokenizer.num_special_tokens_to_add(False)
            if room < 0:
                raise InputError(f"max_length={max_length} has no room for the special tokens")
            plain = self._tokenizer.encode_batch(texts, add_special_tokens=False)
            for encoding in plain:
                encoding.truncate(room)
            encodings = [self._tokenizer.post_process(encoding) for encoding in plain]
        batch = batch_of_ids(
            [encoding.ids for encoding in encodings],
            pad_token_id=self.pad_token_id,
            padding=padding,
            max_length=max_length,
        )
        if self._takes_token_types():
            batch["token_type_ids"] = np.zeros_like(batch["input_ids"])
        return batch

    def _takes_token_types(self) -> bool:
        names = self._config.get("model_input_names")
        if names is not None:
            return "token_type_ids" in names
        family = str(self._config.get("tokenizer_class", ""))
        return family.startswith(("Bert", "Albert", "Electra"))

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
            pieces.append(_readable(piece) if self._byte_level else piece)
        return pieces

    def save(self, folder: str | Path) -> None:
        """Write tokenizer.json and, where there was one, tokenizer_config.json."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / HUGGINGFACE_FILE).write_bytes(self._model)
        if self._config:
            text = json.dumps(self._config, ensure_ascii=False, indent=2)
            (folder / CONFIG_FILE).write_text(text + "\n", encoding="utf-8")


@cache
def _byte_of_character() -> dict[str, int]:
    """GPT-2's printable stand-ins: bytes that print stand for themselves, others from U+0100."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in printable]
    return {chr(b): b for b in printable} | {chr(0x100 + n): b for n, b in enumerate(others)}


def _readable(piece: str) -> str:
    table = _byte_of_character()
    if any(character not in table for character in piece):
        return piece  # an added token, which is kept as text
    raw = bytes(table[character] for character in piece)
    # Part of a character has no text of its own: its bytes are shown, as sentencepiece does.
    parts = raw.decode("utf-8", errors="surrogateescape")
    shown = (f"<0x{ord(c) - 0xDC00:02X}>" if 0xDC80 <= ord(c) <= 0xDCFF else c for c in parts)
    return "".join(shown).replace(" ", "\u2581")
