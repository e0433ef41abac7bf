"""What every tokeniser offers, and how one is found in a folder.

A tokeniser is immutable: it is read from bytes and says of itself, by `fingerprint`, which bytes
those were, so that a checkpoint can refuse a tokeniser that is not the one it was trained with.
"""

import difflib
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from flaxformers_edu.errors import InputError
from flaxformers_edu.text.batching import pad_sequences

SENTENCEPIECE_FILES = ("spm.model", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
HUGGINGFACE_FILE = "tokenizer.json"
# Our own file first; then tokenizer.json, which holds everything, before the older layouts.
KNOWN_FILES = (SENTENCEPIECE_FILES[0], HUGGINGFACE_FILE, *SENTENCEPIECE_FILES[1:])

Padding = bool | Literal["max_length"]


@runtime_checkable
class Tokenizer(Protocol):
    """Text to token ids and back. Ids of special tokens are None where there is no such token."""

    @property
    def vocab_size(self) -> int:
        """Number of ids, special tokens included: the rows an embedding table needs."""
        ...

    @property
    def pad_token_id(self) -> int | None:
        """Id that fills a row up."""
        ...

    @property
    def bos_token_id(self) -> int | None:
        """Id that begins a sequence (the classification token of BERT's family)."""
        ...

    @property
    def eos_token_id(self) -> int | None:
        """Id that ends a sequence (the separator of BERT's family)."""
        ...

    @property
    def unk_token_id(self) -> int | None:
        """Id of what the vocabulary cannot spell."""
        ...

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the model's bytes, in hex."""
        ...

    def __call__(
        self,
        texts: str | Sequence[str],
        *,
        padding: Padding = True,
        max_length: int | None = None,
        truncation: bool = False,
    ) -> dict[str, np.ndarray]:
        """Encode texts as a model's inputs: int32 arrays `input_ids`, `attention_mask` [B, T].

        padding: True fills up to the longest, "max_length" to `max_length`, False not at all
        (every text must then have the same number of tokens).
        Raises InputError for a text over `max_length` unless `truncation`.
        """
        ...

    def encode(self, text: str, *, add_eos: bool = True) -> list[int]:
        """Ids of one text, without a beginning token."""
        ...

    def decode(self, ids: Iterable[int] | np.ndarray) -> str:
        """Text of ids, with padding, beginning and end tokens left out."""
        ...

    def tokens(self, ids: Iterable[int] | np.ndarray) -> list[str]:
        """Readable piece of each id, for the axes of plots; U+2581 stands for a space."""
        ...

    def save(self, folder: str | Path) -> None:
        """Write the files `load_tokenizer` reads into an existing or new folder."""
        ...


def fingerprint_of(model: bytes) -> str:
    """SHA-256 of a tokeniser's bytes, in hex."""
    return hashlib.sha256(model).hexdigest()


def batch_of_ids(
    rows: Sequence[list[int]],
    *,
    pad_token_id: int | None,
    padding: Padding,
    max_length: int | None,
) -> dict[str, np.ndarray]:
    """Stack ragged rows of ids into int32 `input_ids` and `attention_mask` [B, T].

    Raises InputError where a row is longer than `max_length`, or rows differ in length and
    may not or cannot be padded.
    """
    lengths = [len(row) for row in rows]
    longest = max(lengths, default=0)
    if max_length is not None and longest > max_length:
        index = lengths.index(longest)
        raise InputError(
            f"text {index} has {longest} tokens, more than max_length={max_length}; "
            "shorten it, raise max_length or pass truncation=True"
        )
    if padding == "max_length" and max_length is None:
        raise InputError('padding="max_length" needs max_length')
    length = max_length if padding == "max_length" and max_length is not None else longest
    if any(n != length for n in lengths):
        if not padding:
            raise InputError(
                f"texts have {min(lengths)} to {longest} tokens and padding=False; "
                "encode them one by one or pass padding=True"
            )
        if pad_token_id is None:
            raise InputError(
                f"texts have {min(lengths)} to {longest} tokens but the tokeniser has no padding "
                "token; name one in tokenizer_config.json (pad_token)"
            )
    ids_BT = pad_sequences(rows, length, 0 if pad_token_id is None else pad_token_id)
    mask_BT = np.arange(length)[None, :] < np.asarray(lengths, np.int64)[:, None]
    return {"input_ids": ids_BT, "attention_mask": mask_BT.astype(np.int32)}


def read_model(path: Path) -> bytes:
    """The bytes of a tokeniser file. Raises InputError where it is missing or empty."""
    try:
        model = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"tokeniser file {path} does not exist") from error
    except OSError as error:
        raise InputError(f"tokeniser file {path} cannot be read: {error.strerror}") from error
    if not model:
        raise InputError(f"tokeniser file {path} is empty")
    return model


def load_tokenizer(folder: str | Path) -> Tokenizer:
    """The tokeniser kept in a folder (or in the file given): sentencepiece or tokenizer.json.

    Raises InputError where there is no such folder, no known file in it, or the file is broken.
    """
    # Imported here: both modules import this one, and neither package is needed by the other.
    from flaxformers_edu.text.huggingface import HuggingFaceTokenizer
    from flaxformers_edu.text.sentencepiece import SentencePieceTokenizer

    folder = Path(folder)
    if folder.is_file():
        path = folder
    else:
        if not folder.is_dir():
            near = sorted(p.name for p in folder.parent.iterdir()) if folder.parent.is_dir() else []
            close = difflib.get_close_matches(folder.name, near, n=1)
            hint = f"; did you mean {folder.parent / close[0]}?" if close else ""
            raise InputError(f"tokeniser folder {folder} does not exist{hint}")
        found = [folder / name for name in KNOWN_FILES if (folder / name).is_file()]
        if not found:
            raise InputError(f"no tokeniser in {folder}: expected one of {', '.join(KNOWN_FILES)}")
        path = found[0]
    if path.suffix == ".json":
        return HuggingFaceTokenizer.from_file(path)
    return SentencePieceTokenizer.from_file(path)
