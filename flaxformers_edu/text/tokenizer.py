"""What every tokeniser offers, and how one is found in a folder.

A tokeniser is immutable: it is read from bytes and says of itself, by `fingerprint`, which bytes
those were, so that a checkpoint can refuse a tokeniser that is not the one it was trained with.
"""

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from flaxformers_edu.errors import InputError
from flaxformers_edu.text.pieces import Pieces
from flaxformers_edu.text.template import Padding

LLAMA_FILE = "tokenizer.model"
SENTENCEPIECE_FILES = ("spm.model", LLAMA_FILE, "spiece.model", "sentencepiece.bpe.model")
HUGGINGFACE_FILE = "tokenizer.json"
# BERT's vocabulary; then a BPE's as Hugging Face named it, and as OpenAI did, GPT-2's and GPT-1's.
VOCABULARY_FILES = ("vocab.txt", "vocab.json", "encoder.json", "encoder_bpe_40000.json")
WORDS_FILE = "words.txt"  # of a tokeniser that reads characters
ELMO_OPTIONS = "options.json"  # of a published model that does, which may have no vocabulary
# Our own file first; then tokenizer.json, which holds everything, before the older layouts.
KNOWN_FILES = (
    SENTENCEPIECE_FILES[0], HUGGINGFACE_FILE, *SENTENCEPIECE_FILES[1:], *VOCABULARY_FILES,
    WORDS_FILE, ELMO_OPTIONS
)  # fmt: skip
CONFIG_FILE = "tokenizer_config.json"


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
    def cls_token_id(self) -> int | None:
        """Id of the token whose state stands for the whole text."""
        ...

    @property
    def sep_token_id(self) -> int | None:
        """Id that ends a text and stands between two."""
        ...

    @property
    def mask_token_id(self) -> int | None:
        """Id that stands for a token to be guessed."""
        ...

    @property
    def special_ids(self) -> frozenset[int]:
        """Ids that stand for no text: all special tokens but the unknown one."""
        ...

    @property
    def starts_word(self) -> np.ndarray:
        """Whether a piece begins a word, bool [vocab_size]."""
        ...

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the model's bytes, in hex."""
        ...

    def __call__(
        self,
        texts: str | Sequence[str],
        text_pairs: str | Sequence[str] | None = None,
        *,
        padding: Padding = True,
        max_length: int | None = None,
        truncation: bool = False,
    ) -> dict[str, np.ndarray]:
        """Encode texts as a model's inputs: int32 arrays `input_ids`, `attention_mask` [B, T].

        Each text, with its partner of `text_pairs` if there are any, is laid out by the model's own
        template; `token_type_ids` are added where the model takes them.
        padding: True fills up to the longest, "max_length" to `max_length`, False not at all
        (every text must then have the same number of tokens).
        truncation: texts over `max_length` are cut at their ends, of a pair the longer one first.
        Raises InputError for a text over `max_length` unless `truncation`.
        """
        ...

    def join(
        self, ids_a: Sequence[int], ids_b: Sequence[int] | None = None
    ) -> tuple[list[int], list[int]]:
        """(input_ids, token_type_ids) of one text or two, in the model's own template."""
        ...

    def num_special(self, pair: bool) -> int:
        """Special tokens that `join` adds."""
        ...

    def with_task_tokens(self) -> "Tokenizer":
        """With GPT-1's start, delimiter and extract tokens: `text/task_tokens.py`.

        They are its last ids, and its template is made of them. Itself, where it has them.
        """
        ...

    def pieces(self, text: str) -> Pieces:
        """A text's pieces with their places in it, without special tokens around them."""
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


def beginning(tokenizer: Tokenizer) -> tuple[int, ...]:
    """The token of which a text's first one is predicted: what begins a text, or what ends one.

    Raises:
        InputError: the tokeniser has neither.
    """
    for token in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        if token is not None:
            return (token,)
    raise InputError("the tokeniser has no token that a text could begin with")


def fingerprint_of(model: bytes) -> str:
    """SHA-256 of a tokeniser's bytes, in hex."""
    return hashlib.sha256(model).hexdigest()


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


def read_config(folder: Path) -> dict[str, Any]:
    """What tokenizer_config.json of a folder says; {} where there is none.

    Raises InputError where it is not JSON.
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        return {}
    model = read_model(path)
    try:
        return json.loads(model)
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON: {error}") from error


def write_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Write tokenizer_config.json, unless there is nothing to say."""
    if config:
        text = json.dumps(config, ensure_ascii=False, indent=2)
        (folder / CONFIG_FILE).write_text(text + "\n", encoding="utf-8")


def load_tokenizer(folder: str | Path) -> Tokenizer:
    """The tokeniser kept in a folder, or in the file given.

    Known are sentencepiece models, tokenizer.json, BERT's vocab.txt, and vocab.json with merges.txt
    of GPT-1 or of a byte-level BPE (OpenAI's names, encoder.json and vocab.bpe, too), each with the
    tokenizer_config.json beside it; and words.txt of one that reads characters, or nothing but
    ELMo's options.json.
    Raises InputError where there is no such folder, no known file in it, or the file is broken.
    """
    # Imported here: these modules import this one, and no package is needed by the other.
    from flaxformers_edu.text.characters import CharacterTokenizer
    from flaxformers_edu.text.huggingface import HuggingFaceTokenizer
    from flaxformers_edu.text.sentencepiece import SentencePieceTokenizer
    from flaxformers_edu.text.vocabularies import bert_tokenizer, bpe_tokenizer

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
    if path.name == WORDS_FILE:
        return CharacterTokenizer.from_file(path)
    if path.name == ELMO_OPTIONS:
        return CharacterTokenizer()
    if path.suffix == ".txt":
        return bert_tokenizer(path)
    if path.name in VOCABULARY_FILES:
        return bpe_tokenizer(path)
    if path.suffix == ".json":
        return HuggingFaceTokenizer.from_file(path)
    return SentencePieceTokenizer.from_file(path)
