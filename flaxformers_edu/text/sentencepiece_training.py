"""Training sentencepiece models (Kudo and Richardson 2018) on a run's own text."""

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sentencepiece

from flaxformers_edu.errors import InputError, unknown_name
from flaxformers_edu.text.albert import ALBERT_SPECIAL, prepare_albert
from flaxformers_edu.text.sentencepiece import SentencePieceTokenizer

MODEL_TYPES = ("unigram", "bpe")
NORMALIZATIONS = ("identity", "nfkc", "nmt_nfkc", "nfkc_cf", "nmt_nfkc_cf")
SPECIAL_IDS: dict[str, Any] = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": 3}
# Its own beginning and end are control symbols.
ALBERT_IDS: dict[str, Any] = {"pad_id": 0, "unk_id": 1, "bos_id": -1, "eos_id": -1}
NUM_SPECIAL = 4


def train_sentencepiece(
    sentences: Iterable[str],
    *,
    vocab_size: int,
    model_type: str = "unigram",
    character_coverage: float = 1.0,
    byte_fallback: bool = False,
    normalization: str = "identity",
    user_defined_symbols: Sequence[str] = (),
    albert: Mapping[str, bool] | None = None,
) -> SentencePieceTokenizer:
    """Train a model in memory, silently, on one thread: the same sentences give the same bytes.

    model_type: "unigram" (Kudo 2018) or "bpe" (Sennrich et al. 2016). Ids 0 to 3 are pad, eos,
    unk, bos; with `albert` (its do_lower_case and keep_accents) they are ALBERT's: pad, unk, [CLS],
    [SEP], [MASK]. `byte_fallback` spells unknown characters as bytes.
    Raises InputError for an unknown model_type or normalization, an empty corpus, and a
    vocab_size that the corpus does not allow (with the limit that sentencepiece reports).
    """
    if model_type not in MODEL_TYPES:
        raise unknown_name("model_type", model_type, MODEL_TYPES)
    if normalization not in NORMALIZATIONS:
        raise unknown_name("normalization", normalization, NORMALIZATIONS)
    if not 0 < character_coverage <= 1:
        raise InputError(f"character_coverage must be in (0, 1], got {character_coverage}")
    ids = SPECIAL_IDS if albert is None else ALBERT_IDS
    least = NUM_SPECIAL + len(user_defined_symbols) + 1 + (albert is not None)
    if vocab_size < least:
        raise InputError(f"vocab_size={vocab_size} must be at least {least}")
    corpus = [sentence for sentence in sentences if sentence.strip()]
    if albert is not None:
        corpus = [prepare_albert(sentence, albert)[0] for sentence in corpus]
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
            control_symbols=[] if albert is None else list(ALBERT_SPECIAL),
            **ids,
            max_sentence_length=max(4192, longest + 1),
            num_threads=1,
            minloglevel=2,
        )
    except (RuntimeError, OSError) as error:
        raise _training_error(str(error), vocab_size) from error
    return SentencePieceTokenizer(model.getvalue(), albert)


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
