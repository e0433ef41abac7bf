"""SentencePiece (Kudo and Richardson 2018): unigram or BPE pieces, trained on a run's own text."""

import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import sentencepiece

from flaxformers_edu.errors import InputError, unknown_name
from flaxformers_edu.text.tokenizer import (
    SENTENCEPIECE_FILES,
    Padding,
    batch_of_ids,
    fingerprint_of,
    read_model,
)

MODEL_TYPES = ("unigram", "bpe")
NORMALIZATIONS = ("identity", "nfkc", "nmt_nfkc", "nfkc_cf", "nmt_nfkc_cf")
NUM_SPECIAL = 4  # pad, eos, unk, bos


class SentencePieceTokenizer:
    """A sentencepiece model as a `Tokenizer`: pieces, then the end token."""

    def __init__(self, model: bytes, *, origin: str = "the model given") -> None:
        """Read a serialised model. Raises InputError where the bytes are not one."""
        self._model = model
        self._processor = sentencepiece.SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(model)
        except RuntimeError as error:
            raise InputError(f"{origin} is not a sentencepiece model, or is truncated") from error
        self._skipped = {
            i for i in (self.pad_token_id, self.bos_token_id, self.eos_token_id) if i is not None
        }

    @classmethod
    def from_file(cls, path: str | Path) -> "SentencePieceTokenizer":
        """Read a model file. Raises InputError where it is missing or broken."""
        path = Path(path)
        return cls(read_model(path), origin=str(path))

    def __getstate__(self) -> bytes:
        """Only the bytes: the processor is rebuilt from them."""
        return self._model

    def __setstate__(self, state: bytes) -> None:
        """Rebuild from the bytes."""
        self.__init__(state)  # type: ignore[misc]

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
        return self._id_or_none(self._processor.bos_id())

    @property
    def eos_token_id(self) -> int | None:
        """Id that ends a sequence."""
        return self._id_or_none(self._processor.eos_id())

    @property
    def unk_token_id(self) -> int | None:
        """Id of what no piece spells."""
        return self._id_or_none(self._processor.unk_id())

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the model's bytes, in hex."""
        return fingerprint_of(self._model)

    def __call__(
        self,
        texts: str | Sequence[str],
        *,
        padding: Padding = True,
        max_length: int | None = None,
        truncation: bool = False,
    ) -> dict[str, np.ndarray]:
        """See `Tokenizer.__call__`. A text that is cut keeps its end token."""
        rows = [self.encode(text) for text in ([texts] if isinstance(texts, str) else texts)]
        if truncation and max_length is not None:
            # A prefix, but for the last id (the end token), which stays.
            rows = [r if len(r) <= max_length else r[: max_length - 1] + r[-1:] for r in rows]
        return batch_of_ids(
            rows, pad_token_id=self.pad_token_id, padding=padding, max_length=max_length
        )

    def encode(self, text: str, *, add_eos: bool = True) -> list[int]:
        """Ids of one text; ends with the end token unless told otherwise."""
        ids: list[int] = self._processor.encode(text, out_type=int)
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
        """Write spm.model."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / SENTENCEPIECE_FILES[0]).write_bytes(self._model)


def train_sentencepiece(
    sentences: Iterable[str],
    *,
    vocab_size: int,
    model_type: str = "unigram",
    character_coverage: float = 1.0,
    byte_fallback: bool = False,
    normalization: str = "identity",
    user_defined_symbols: Sequence[str] = (),
) -> SentencePieceTokenizer:
    """Train a model in memory, silently, on one thread: the same sentences give the same bytes.

    model_type: "unigram" (Kudo 2018) or "bpe" (Sennrich et al. 2016). Ids 0 to 3 are pad, eos,
    unk, bos. `byte_fallback` spells unknown characters as bytes.
    Raises InputError for an unknown model_type or normalization, an empty corpus, and a
    vocab_size that the corpus does not allow (with the limit that sentencepiece reports).
    """
    if model_type not in MODEL_TYPES:
        raise unknown_name("model_type", model_type, MODEL_TYPES)
    if normalization not in NORMALIZATIONS:
        raise unknown_name("normalization", normalization, NORMALIZATIONS)
    if not 0 < character_coverage <= 1:
        raise InputError(f"character_coverage must be in (0, 1], got {character_coverage}")
    least = NUM_SPECIAL + len(user_defined_symbols) + 1
    if vocab_size < least:
        raise InputError(f"vocab_size={vocab_size} must be at least {least}")
    corpus = [sentence for sentence in sentences if sentence.strip()]
    if not corpus:
        raise InputError("cannot train a tokeniser: the corpus is empty")
    # sentencepiece skips longer lines silently; text that is trained on must be seen.
    longest = max(len(sentence.encode()) for sentence in corpus)
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(corpus),
            model_writer=model,
            vocab_size=vocab_size,
            model_type=model_type,
            character_coverage=character_coverage,
            byte_fallback=byte_fallback,
            normalization_rule_name=normalization,
            user_defined_symbols=list(user_defined_symbols),
            pad_id=0,
            eos_id=1,
            unk_id=2,
            bos_id=3,
            max_sentence_length=max(4192, longest + 1),
            num_threads=1,
            minloglevel=2,
        )
    except (RuntimeError, OSError) as error:
        raise _training_error(str(error), vocab_size) from error
    return SentencePieceTokenizer(model.getvalue())


def _training_error(message: str, vocab_size: int) -> InputError:
    if found := re.search(r"value <= (\d+)", message):
        return InputError(
            f"vocab_size={vocab_size} is larger than the corpus allows: "
            f"set vocab_size to {found[1]} or less, or give more text"
        )
    if found := re.search(r"required_chars\. \d+ vs (\d+)", message):
        return InputError(
            f"vocab_size={vocab_size} is smaller than the corpus needs for its characters: "
            f"set vocab_size to {found[1]} or more, or lower character_coverage"
        )
    return InputError(f"sentencepiece cannot train with vocab_size={vocab_size}: {message.strip()}")
