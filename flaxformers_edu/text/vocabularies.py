"""The older layouts of Hugging Face's tokenisers, read as the tokenizer.json they would be.

BERT's vocab.txt (WordPiece, Wu et al. 2016), and vocab.json with merges.txt: GPT-1's BPE, where
pieces that end a word say so (Sennrich et al. 2016), or a byte-level one (Radford et al. 2019),
which is RoBERTa's where the vocabulary has <s> and </s>, and else GPT-2's.
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
END_OF_TEXT = "<|endoftext|>"
GPT2_SPECIAL = {name: END_OF_TEXT for name in ("bos_token", "eos_token", "unk_token")}
MERGES = {
    "vocab.json": "merges.txt",
    "encoder.json": "vocab.bpe",
    "encoder_bpe_40000.json": "vocab_40000.bpe",
}
WORD_END = "</w>"
UNKNOWN = "<unk>"


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


def bpe_tokenizer(path: Path) -> HuggingFaceTokenizer:
    """A vocab.json and the merges beside it: GPT-1's, or a byte-level one.

    Raises InputError where a file is missing or broken, or where one does not fit the other.
    """
    config, merges_path = read_config(path.parent), path.with_name(MERGES[path.name])
    try:
        vocabulary = json.loads(read_model(path))
        if not all(isinstance(index, int) for index in vocabulary.values()):
            raise ValueError("its values are no ids")
    except InputError:
        raise
    except (ValueError, AttributeError) as error:
        raise InputError(f"{path} is not a vocabulary in JSON: {error}") from error
    merges = _read_merges(merges_path, vocabulary, path)
    if any(piece.endswith(WORD_END) for piece in vocabulary):
        return word_bpe(vocabulary, merges, config, origin=str(path))
    return byte_bpe(models.BPE(vocabulary, merges), vocabulary, config, origin=str(path))


def _read_merges(
    path: Path, vocabulary: Mapping[str, int], vocabulary_path: Path
) -> list[tuple[str, str]]:
    """The pairs of a merges file, of which the vocabulary must have both parts and the whole."""
    try:
        lines = read_model(path).decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not valid UTF-8: {error.reason}") from error
    merges = []
    for number, line in enumerate(lines, start=1):
        if not line or line.startswith("#version"):
            continue
        left, space, right = line.partition(" ")
        if not (left and space and right) or " " in right:
            raise InputError(f"{path}, line {number} is {line!r}; it must be a pair of pieces")
        for piece in (left, right, left + right):
            if piece not in vocabulary:
                raise InputError(
                    f"{path} does not fit {vocabulary_path.name}: line {number} merges {left!r} "
                    f"and {right!r}, and {piece!r} is not in the vocabulary"
                )
        merges.append((left, right))
    return merges


def word_bpe(
    vocabulary: Mapping[str, int],
    merges: list[tuple[str, str]],
    config: Mapping[str, Any],
    *,
    origin: str,
) -> HuggingFaceTokenizer:
    """GPT-1's: BERT's words in lower case, as pieces of which a word's last ends with </w>.

    As in Hugging Face's tokeniser, words are found by BERT's rules, and not by spaCy and ftfy.
    """
    names = _special({"unk_token": UNKNOWN}, config)
    unknown = names["unk_token"]
    if unknown not in vocabulary:
        raise InputError(f"{origin} has no {unknown!r}, which must be its unk_token")
    model = models.BPE(
        dict(vocabulary), merges, unk_token=unknown, end_of_word_suffix=WORD_END, fuse_unk=False
    )
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.BPEDecoder(suffix=WORD_END)
    tokenizer.add_special_tokens([unknown])
    return HuggingFaceTokenizer(tokenizer.to_str().encode(), {**config, **names}, origin=origin)


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
