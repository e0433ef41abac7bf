"""Words as characters: the released models' numbers, what is refused, vocabularies of words."""

import numpy as np
import pytest

from flaxformers_edu.errors import InputError
from flaxformers_edu.text.characters import (
    MAX_CHARACTERS,
    CharacterTokenizer,
    spell,
    train_words,
    word_of,
)
from flaxformers_edu.text.tokenizer import Tokenizer, load_tokenizer


def published(word: str) -> list[int]:
    """As bilm-tf: 256 <S>, 257 </S>, 258 and 259 around a word, 260 after it; all plus 1."""
    bytes_of = {"<S>": [256], "</S>": [257]}.get(word, list(word.encode())[:48])
    codes = [258, *bytes_of, 259]
    return [code + 1 for code in codes + [260] * (50 - len(codes))]


@pytest.mark.parametrize("word", ["cat", "naïve", "고양이", "<S>", "</S>", "x" * 200, "é" * 40])
def test_words_are_spelt_as_the_released_models_have_it(word):
    assert list(spell(word)) == published(word)


def test_what_is_spelt_can_be_read():
    assert [word_of(spell(word)) for word in ("cat", "고양이", "<S>")] == ["cat", "고양이", "<S>"]
    assert word_of([0] * MAX_CHARACTERS) == ""
    assert word_of(spell("é" * 40)) == "é" * 24


@pytest.mark.parametrize(
    ("word", "said"),
    [("a\udcffb", "character outside the alphabet"), ("", "no word"), ("a b", "no word")],
)
def test_what_is_no_word_is_refused(word, said):
    with pytest.raises(InputError, match=said):
        spell(word)


def test_texts_are_a_models_inputs():
    tokenizer = CharacterTokenizer()
    assert isinstance(tokenizer, Tokenizer)
    batch = tokenizer(["the cat sat", "no"])
    assert batch["input_ids"].shape == (2, 5, MAX_CHARACTERS)
    assert batch["input_ids"].dtype == np.int32
    np.testing.assert_array_equal(batch["attention_mask"], [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    assert tokenizer.tokens(batch["input_ids"][0]) == ["<S>", "the", "cat", "sat", "</S>"]
    assert tokenizer.decode(batch["input_ids"][1]) == "no"
    assert not batch["input_ids"][1, 3:].any()
    np.testing.assert_array_equal(
        tokenizer([["the", "cat", "sat"], ["no"]])["input_ids"], batch["input_ids"]
    )


def test_pairs_and_lengths():
    tokenizer = CharacterTokenizer()
    pair = tokenizer("a b c d", "e", max_length=7, truncation=True)
    words = ["<S>", "a", "b", "</S>", "<S>", "e", "</S>"]
    assert tokenizer.tokens(pair["input_ids"][0]) == words
    with pytest.raises(InputError, match="more than max_length=3"):
        tokenizer("a b c", max_length=3)
    with pytest.raises(InputError, match="1 text_pairs"):
        tokenizer(["a", "b"], ["c"])


@pytest.mark.parametrize("texts", [["a", "  "], ["a", ""], [["a"], []]])
def test_a_text_without_words_is_refused(texts):
    with pytest.raises(InputError, match="text 1 has no words"):
        CharacterTokenizer()(texts)


def test_a_bad_word_is_refused_with_its_place():
    with pytest.raises(InputError, match="text 0: the word .* outside the alphabet"):
        CharacterTokenizer()("ok \udc80")


def test_pieces_lie_where_the_words_do():
    pieces = CharacterTokenizer().pieces(" a  cat")
    assert pieces.spans == [(1, 2), (4, 7)]
    assert [word_of(word) for word in pieces.ids] == ["a", "cat"]


def test_the_vocabulary_is_of_the_commonest_words(tmp_path):
    tokenizer = train_words(["b a b", "c a b <S>"], vocab_size=5)
    assert tokenizer.words == ("<S>", "</S>", "<UNK>", "b", "a")
    assert tokenizer.word_ids(["a", "c", "</S>"]) == [4, 2, 1]
    tokenizer.save(tmp_path)
    again = load_tokenizer(tmp_path)
    assert again.words == tokenizer.words and again.fingerprint == tokenizer.fingerprint
    assert again.tokens([3, 1]) == ["b", "</S>"]


def test_bad_vocabularies_are_refused(tmp_path):
    with pytest.raises(InputError, match="corpus is empty"):
        train_words(["  "], vocab_size=9)
    with pytest.raises(InputError, match="more than 3"):
        train_words(["a"], vocab_size=3)
    with pytest.raises(InputError, match="has no <UNK>"):
        CharacterTokenizer(["<S>", "</S>"])
    with pytest.raises(InputError, match="'a' more than once"):
        CharacterTokenizer(["<S>", "</S>", "<UNK>", "a", "a"])
    (tmp_path / "words.txt").write_bytes(b"\xff\n")
    with pytest.raises(InputError, match="not UTF-8"):
        load_tokenizer(tmp_path)


def test_a_folder_with_options_alone_can_spell(tmp_path):
    (tmp_path / "options.json").write_text("{}")
    assert not load_tokenizer(tmp_path).knows_words
