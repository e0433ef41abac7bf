"""Training a tokeniser on a run's own text: the same texts always give the same tokeniser."""

from collections.abc import Iterable

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from flaxformers_edu.errors import InputError, unknown_name
from flaxformers_edu.text.characters import train_words
from flaxformers_edu.text.huggingface import HuggingFaceTokenizer
from flaxformers_edu.text.sentencepiece_training import train_sentencepiece
from flaxformers_edu.text.tokenizer import Tokenizer
from flaxformers_edu.text.vocabularies import (
    BERT_SPECIAL,
    END_OF_TEXT,
    ROBERTA_SPECIAL,
    UNKNOWN,
    byte_bpe,
    wordpiece,
)

KINDS = ("unigram", "bpe", "albert", "wordpiece", "byte_bpe", "gpt2", "characters", "elmo")


def train_tokenizer(
    kind: str,
    texts: Iterable[str],
    *,
    vocab_size: int,
    byte_fallback: bool = False,
    lower_case: bool = True,
    strip_accents: bool = False,
) -> Tokenizer:
    """A tokeniser of a kind: sentencepiece's unigram or bpe (`byte_fallback`), ALBERT's unigram or
    BERT's wordpiece (`lower_case`, `strip_accents`), a byte-level BPE with RoBERTa's special tokens
    (byte_bpe) or with GPT-2's one (gpt2), characters, or words that are spelt (elmo).

    Raises InputError for an unknown kind, an empty corpus, a vocab_size that does not suit it.
    """
    if kind not in KINDS:
        raise unknown_name("kind", kind, KINDS)
    if kind == "wordpiece":
        return train_wordpiece(
            texts, vocab_size=vocab_size, lower_case=lower_case, strip_accents=strip_accents
        )
    if kind == "byte_bpe":
        return train_byte_bpe(texts, vocab_size=vocab_size)
    if kind == "gpt2":
        return train_gpt2_bpe(texts, vocab_size=vocab_size)
    if kind == "characters":
        return train_characters(texts, vocab_size=vocab_size)
    if kind == "elmo":
        return train_words(texts, vocab_size=vocab_size)
    if kind == "albert":
        preparation = {"do_lower_case": lower_case, "keep_accents": not strip_accents}
        return train_sentencepiece(
            texts, vocab_size=vocab_size, normalization="nmt_nfkc", albert=preparation
        )
    return train_sentencepiece(
        texts, vocab_size=vocab_size, model_type=kind, byte_fallback=byte_fallback
    )


def train_wordpiece(
    texts: Iterable[str],
    *,
    vocab_size: int,
    lower_case: bool = True,
    strip_accents: bool = False,
) -> HuggingFaceTokenizer:
    """BERT's WordPiece: [PAD] 0, [UNK] 1, [CLS] 2, [SEP] 3, [MASK] 4, then what the texts need.

    `strip_accents` also takes Hangul apart into its letters: leave it off for Korean. A quarter of
    the vocabulary at most are characters that begin a word, the most frequent ones.
    A small corpus may fill less than `vocab_size`.
    Raises InputError for an empty corpus, and a vocabulary too small for its characters.
    """
    corpus = _not_empty(texts)
    trainable = tokenizers.Tokenizer(models.WordPiece(unk_token=BERT_SPECIAL["unk_token"]))
    trainable.normalizer = normalizers.BertNormalizer(
        lowercase=lower_case, strip_accents=strip_accents
    )
    trainable.pre_tokenizer = pre_tokenizers.BertPreTokenizer()

    def trained(first: list[str], size: int) -> list[str]:
        trainer = trainers.WordPieceTrainer(
            vocab_size=size,
            special_tokens=first,
            limit_alphabet=max(1, vocab_size // 4),
            show_progress=False,
        )
        trainable.train_from_iterator(corpus, trainer)
        vocabulary = trainable.get_vocab()
        return sorted(vocabulary, key=vocabulary.__getitem__)

    # The trainer numbers ## pieces of one character in no fixed order, and their numbers break its
    # ties. Given in a fixed order, as if they were special, they leave nothing to chance.
    special = list(BERT_SPECIAL.values())
    characters = sorted(set(trained(special, 0)) - set(special))
    continuing = [piece for piece in characters if len(piece) == 3 and piece.startswith("##")]
    if len(special) + len(characters) > vocab_size:
        raise InputError(
            f"vocab_size={vocab_size} is smaller than the corpus needs for its characters: set "
            f"vocab_size to {len(special) + len(characters)} or more"
        )
    pieces = trained([*special, *continuing], vocab_size)
    return wordpiece(
        {piece: index for index, piece in enumerate(pieces)},
        {"tokenizer_class": "BertTokenizer", "do_lower_case": lower_case}
        | {"strip_accents": strip_accents},
        lower_case=lower_case,
        strip_accents=strip_accents,
    )


def train_byte_bpe(texts: Iterable[str], *, vocab_size: int) -> HuggingFaceTokenizer:
    """RoBERTa's byte-level BPE: <s> 0, <pad> 1, </s> 2, <unk> 3, <mask> 4, 256 bytes, merges.

    Raises InputError for an empty corpus, and a vocabulary too small for the bytes.
    """
    special = list(dict.fromkeys(ROBERTA_SPECIAL.values()))
    return _trained_byte_bpe(texts, vocab_size, special, "RobertaTokenizer")


def train_gpt2_bpe(texts: Iterable[str], *, vocab_size: int) -> HuggingFaceTokenizer:
    """GPT-2's byte-level BPE: <|endoftext|> 0, 256 bytes, merges; nothing is unknown.

    Raises InputError for an empty corpus, and a vocabulary too small for the bytes.
    """
    return _trained_byte_bpe(texts, vocab_size, [END_OF_TEXT], "GPT2Tokenizer")


def _trained_byte_bpe(
    texts: Iterable[str], vocab_size: int, special: list[str], tokenizer_class: str
) -> HuggingFaceTokenizer:
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    if vocab_size < len(special) + len(alphabet):
        raise InputError(
            f"vocab_size={vocab_size} must be at least {len(special) + len(alphabet)} for a "
            "byte-level BPE"
        )
    trainable = tokenizers.Tokenizer(models.BPE())
    trainable.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=special,
        initial_alphabet=alphabet,
        show_progress=False,
    )
    trainable.train_from_iterator(_not_empty(texts), trainer)
    model = trainable.model
    assert isinstance(model, models.BPE)
    return byte_bpe(model, trainable.get_vocab(), {"tokenizer_class": tokenizer_class})


def train_characters(texts: Iterable[str], *, vocab_size: int) -> HuggingFaceTokenizer:
    """Every character is a token: <|endoftext|> 0, <unk> 1, then the texts' own by code point.

    Raises InputError for an empty corpus, and a vocabulary too small for its characters.
    """
    special = {"bos_token": END_OF_TEXT, "eos_token": END_OF_TEXT, "unk_token": UNKNOWN}
    characters = sorted(set().union(*_not_empty(texts)))
    pieces = [*dict.fromkeys(special.values()), *characters]
    if len(pieces) > vocab_size:
        raise InputError(
            f"vocab_size={vocab_size} is smaller than the corpus needs for its characters: set "
            f"vocab_size to {len(pieces)} or more"
        )
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(tokenizers.Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([END_OF_TEXT, UNKNOWN])
    config = {"tokenizer_class": "PreTrainedTokenizerFast", **special}
    return HuggingFaceTokenizer(tokenizer.to_str().encode(), config)


def _not_empty(texts: Iterable[str]) -> list[str]:
    corpus = [text for text in texts if text.strip()]
    if not corpus:
        raise InputError("cannot train a tokeniser: the corpus is empty")
    return corpus
