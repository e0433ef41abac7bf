"""Whether a tokeniser is the one that a model was trained with, as far as files can tell."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flaxformers_edu.errors import InputError
from flaxformers_edu.interop.weights import read_json
from flaxformers_edu.text.tokenizer import CONFIG_FILE, KNOWN_FILES, Tokenizer, load_tokenizer

SPARE_ROWS = 1024
"""Fewer rows of the table than this may have no token: tables are padded to round sizes."""


def tokenizer_of(folder: Path, hf: Mapping[str, Any], config: Any) -> Tokenizer | None:
    """The tokeniser in a model's folder, None where there is none.

    Raises:
        InputError: a broken one, or one that is not of this model.
    """
    if not any((folder / name).is_file() for name in KNOWN_FILES):
        return None
    tokenizer = load_tokenizer(folder)
    named = read_json(folder / CONFIG_FILE) if (folder / CONFIG_FILE).is_file() else {}
    check_belongs(tokenizer, config, hf=hf, named=named)
    return tokenizer


def check_belongs(
    tokenizer: Tokenizer,
    config: Any,
    *,
    hf: Mapping[str, Any] | None = None,
    named: Mapping[str, Any] | None = None,
) -> None:
    """Raises InputError for a tokeniser of another model.

    Args:
        tokenizer: as it was read.
        config: ours, of the model.
        hf: config.json, which may name special tokens and the tokeniser's class.
        named: tokenizer_config.json, which may name the class.
    """
    hf, named = hf or {}, named or {}
    if not getattr(tokenizer, "knows_words", True):
        return  # it can spell any word, and numbers none
    rows, tokens = config.vocab_size, tokenizer.vocab_size
    if not tokens <= rows < tokens + SPARE_ROWS:
        raise InputError(
            f"the tokeniser has {tokens} tokens and the model {rows} rows for them: "
            "it is the tokeniser of another model"
        )
    for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
        wanted, found = hf.get(name), getattr(tokenizer, name)
        several = wanted if isinstance(wanted, list) else [wanted]
        if wanted is not None and found is not None and found not in several:
            raise InputError(
                f"the tokeniser has {name} {found} and config.json says {wanted}: "
                "it is the tokeniser of another model"
            )
    encoder = hasattr(config, "mask_token_id")
    if encoder and (tokenizer.cls_token_id is None or tokenizer.sep_token_id is None):
        raise InputError(
            "the tokeniser has no token for a text's beginning and end ([CLS] and [SEP], <s> and "
            f"</s>), which a {type(config).__name__.removesuffix('Config')} needs: "
            "it is the tokeniser of another model"
        )
    ours, theirs = (_class_of(source) for source in (named, hf))
    if ours and theirs and ours != theirs:
        raise InputError(
            f"{CONFIG_FILE} is of a {ours} and config.json names a {theirs}: "
            "it is the tokeniser of another model"
        )


def _class_of(config: Mapping[str, Any]) -> str:
    """A tokeniser's class, with or without its fast implementation."""
    return str(config.get("tokenizer_class") or "").removesuffix("Fast")
