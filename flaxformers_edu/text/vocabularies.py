"""The older layouts of Hugging Face's tokenisers, read as the tokenizer.json they would be.

BERT's vocab.txt (WordPiece, Wu et al. 2016), and the vocab.json with merges.txt of a byte-level BPE
(Radford et al. 2019): GPT-2's, or RoBERTa's where the vocabulary has <s> and </s>.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors

from flaxformers_edu.errors import InputError
from flaxformers_edu.text.huggingface import HuggingFaceTokenizer
from flaxformers_edu.text.tokenizer import read_config, read_model

BERT_SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
ROBERTA_SPECIAL = {
    "bos_token": "<s>",
    "pad_token": "<pad>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
    "cls_token": "<s>",
    "sep_token": "</s>",
}
GPT2_SPECIAL = {name: "<|endoftext|>" for name in ("bos_token", "eos_token", "unk_token")}
MERGES = {"vocab.json": "merges.txt", "encoder.json": "vocab.bpe"}


def bert_tokenizer(path: Path) -> HuggingFaceTokenizer:
    """A vocab.txt, a piece a line; lower-cased unless tokenizer_config.json denies do_lower_case.

    Raises InputError where a file is missing or broken, or lacks a special token.
    """
    config = read_config(path.parent)
    try:
        lines = read_model(path).decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not valid UTF-8: {error.reason}") from error
    if not lines[-1]:
        del lines[-1]
    vocabulary = {line.removesuffix("\r"): index for index, line in enumerate(lines)}
    return wordpiece(
        vocabulary,
        config,
        lower_case=config.get("do_lower_case", True),
        strip_accents=config.get("strip_accents"),
        chinese=config.get("tokenize_chinese_chars", True),
        origin=str(path),
    )


def wordpiece(
    vocabulary: Mapping[str, int],
    config: Mapping[str, Any],
    *,
    lower_case: bool,
    strip_accents: bool | None,
    chinese: bool = True,
    origin: str = "the vocabulary given",
) -> HuggingFaceTokenizer:
    """BERT's tokeniser over a vocabulary: words apart at spaces and punctuation, then WordPiece.

    strip_accents: None where the case decides; `chinese` sets ideographs apart as words.
    """
    names = _special(BERT_SPECIAL, config)
    for key, token in names.items():
        if token not in vocabulary:
            raise InputError(f"{origin} has no {token!r}, which must be its {key}")
    cls, sep = names["cls_token"], names["sep_token"]
    tokenizer = tokenizers.Tokenizer(
        models.WordPiece(dict(vocabulary), unk_token=names["unk_token"])
    )
    tokenizer.normalizer = normalizers.BertNormalizer(
        lowercase=lower_case, strip_accents=strip_accents, handle_chinese_chars=chinese
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{cls}:0 $A:0 {sep}:0",
        pair=f"{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1",
        special_tokens=[(token, vocabulary[token]) for token in (cls, sep)],
    )
    tokenizer.add_special_tokens(list(names.values()))
    return HuggingFaceTokenizer(tokenizer.to_str().encode(), {**config, **names}, origin=origin)


def byte_bpe_tokenizer(path: Path) -> HuggingFaceTokenizer:
    """A vocab.json and the merges beside it.

    Raises InputError where a file is missing or broken.
    """
    try:
        vocabulary = json.loads(read_model(path))
        lines = read_model(path.with_name(MERGES[path.name])).decode("utf-8").split("\n")
        pairs = (line.split(" ") for line in lines if line and not line.startswith("#version"))
        merges = [(left, right) for left, right in pairs]
        model = models.BPE(vocabulary, merges)
    except InputError:
        raise
    except Exception as error:  # JSON, UTF-8, and the package's bare Exception
        raise InputError(f"{path} and its merges are no byte-level BPE: {error}") from error
    return byte_bpe(model, vocabulary, read_config(path.parent), origin=str(path))


def byte_bpe(
    model: models.BPE,
    vocabulary: Mapping[str, int],
    config: Mapping[str, Any],
    *,
    origin: str = "the vocabulary given",
) -> HuggingFaceTokenizer:
    """A byte-level BPE as RoBERTa uses it, where it has that one's special tokens, or as GPT-2."""
    is_roberta = {"<s>", "</s>"} <= vocabulary.keys()
    names = _special(ROBERTA_SPECIAL if is_roberta else GPT2_SPECIAL, config)
    names = {key: token for key, token in names.items() if token in vocabulary}
    space = config.get("add_prefix_space", False)
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=space)
    tokenizer.decoder = decoders.ByteLevel()
    if is_roberta:
        cls, sep = names["cls_token"], names["sep_token"]
        tokenizer.post_processor = processors.RobertaProcessing(
            (sep, vocabulary[sep]), (cls, vocabulary[cls]), add_prefix_space=space
        )
    else:
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    # The space before a mask is the mask's, as in the released tokenisers.
    tokenizer.add_special_tokens(
        [AddedToken(t, lstrip=t == names.get("mask_token")) for t in dict.fromkeys(names.values())]
    )
    return HuggingFaceTokenizer(tokenizer.to_str().encode(), {**config, **names}, origin=origin)


def _special(usual: Mapping[str, str], config: Mapping[str, Any]) -> dict[str, str]:
    """The special tokens by their keys: the usual ones, but for those that the config names."""
    named = {key: config.get(key) or token for key, token in usual.items()}
    return {
        key: token["content"] if isinstance(token, Mapping) else str(token)
        for key, token in named.items()
    }
