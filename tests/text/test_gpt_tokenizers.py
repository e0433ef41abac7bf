"""Tokenisers of decoders: the published files, older layouts, new ones, and what does not fit."""

import json
import os
from pathlib import Path

import pytest

from flaxformers_edu.errors import InputError
from flaxformers_edu.text import load_tokenizer
from flaxformers_edu.text.training import train_tokenizer

CORPUS = ["The cat sees a dog.\n", "A dog sees the cat; 고양이!", "café"] * 5


def published(name: str) -> Path:
    if "FLAXFORMERS_DATA" not in os.environ:
        pytest.skip("FLAXFORMERS_DATA names no folder")
    return Path(os.environ["FLAXFORMERS_DATA"]) / "tokenizers" / name


def expected_cases() -> list[tuple[str, list[int]]]:
    folder = published("expected_ggml")
    texts = (folder / "gpt-2.inp").read_text(encoding="utf-8").split("\n__ggml_vocab_test__\n")
    lines = (folder / "gpt-2.out").read_text().split("\n")
    return [
        (text, [int(i) for i in line.split()]) for text, line in zip(texts, lines, strict=False)
    ]


@pytest.mark.data
def test_gpt2_files_give_the_expected_ids() -> None:
    tokenizer = load_tokenizer(published("gpt2"))
    cases = expected_cases()
    assert len(cases) > 40
    for text, ids in cases:
        assert tokenizer.encode(text, add_eos=False) == ids, text
        assert tokenizer.decode(ids) == text
    assert tokenizer.vocab_size == 50257
    assert tokenizer.eos_token_id == tokenizer.bos_token_id == 50256


@pytest.mark.data
def test_gpt1_files() -> None:
    tokenizer = load_tokenizer(published("openai-gpt"))
    assert tokenizer.vocab_size == 40478
    assert tokenizer.unk_token_id == 0
    assert tokenizer.eos_token_id is None
    ids = tokenizer.encode("The Teacher doesn't read Unbelievabilities!")
    assert tokenizer.tokens(ids)[:2] == ["the</w>", "teacher</w>"]
    assert tokenizer.decode(ids) == "the teacher doesn ' t read unbelievabilities !"
    assert 0 in tokenizer.encode("고")


def write_bpe(folder: Path, vocabulary: list[str], merges: list[str]) -> None:
    ids = {piece: index for index, piece in enumerate(vocabulary)}
    (folder / "vocab.json").write_text(json.dumps(ids), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")


def test_a_vocabulary_with_ends_of_words_is_gpt1s(tmp_path) -> None:
    pieces = ["<unk>", "a", "t", "c", "a</w>", "t</w>", "at</w>", "cat</w>", "!</w>"]
    write_bpe(tmp_path, pieces, ["a t</w>", "c at</w>"])
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.encode("Cat  a CAT!") == [7, 4, 7, 8]
    assert tokenizer.decode([7, 4, 7, 8]) == "cat a cat !"
    assert tokenizer.encode("b") == [0]
    tokenizer.save(tmp_path / "saved")
    assert load_tokenizer(tmp_path / "saved").encode("Cat a") == [7, 4]


@pytest.mark.parametrize(
    ("merges", "message"),
    [
        (["a t", "at x"], "merges.txt does not fit vocab.json: line 3 merges 'at' and 'x'"),
        (["a t", "t a"], "line 3 merges 't' and 'a', and 'ta' is not in the vocabulary"),
        (["a t", "at"], "line 3 is 'at'; it must be a pair of pieces"),
    ],
)
@pytest.mark.parametrize("kind", [["<unk>", "t</w>"], ["<|endoftext|>"]])
def test_merges_that_do_not_fit(tmp_path, kind, merges, message) -> None:
    write_bpe(tmp_path, [*kind, "a", "t", "at"], merges)
    with pytest.raises(InputError, match=message):
        load_tokenizer(tmp_path)


def test_vocabularies_that_are_none(tmp_path) -> None:
    write_bpe(tmp_path, ["t</w>", "a"], [])
    with pytest.raises(InputError, match="vocab.json has no '<unk>', which must be its unk_token"):
        load_tokenizer(tmp_path)
    for text in ("[1]", "{", '{"a": "b"}'):
        (tmp_path / "vocab.json").write_text(text)
        with pytest.raises(InputError, match="vocab.json is not a vocabulary in JSON"):
            load_tokenizer(tmp_path)


def test_an_end_that_the_vocabulary_lacks(tmp_path) -> None:
    train_tokenizer("gpt2", CORPUS, vocab_size=270).save(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "<eos>"}')
    with pytest.raises(InputError, match="eos_token='<eos>' of tokenizer_config.json is not in"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(("kind", "vocab_size"), [("gpt2", 280), ("characters", 40)])
def test_new_ones_for_decoders(kind, vocab_size, tmp_path) -> None:
    tokenizer = train_tokenizer(kind, CORPUS, vocab_size=vocab_size)
    assert tokenizer.eos_token_id == tokenizer.bos_token_id == 0
    assert tokenizer.mask_token_id is None
    assert tokenizer.vocab_size <= vocab_size
    for text in CORPUS[:3]:
        ids = tokenizer.encode(text)
        assert ids[-1] == 0
        assert tokenizer.decode(ids) == text
        assert tokenizer(text)["input_ids"][0].tolist() == ids[:-1]
    again = train_tokenizer(kind, iter(CORPUS), vocab_size=vocab_size)
    assert again.fingerprint == tokenizer.fingerprint
    tokenizer.save(tmp_path)
    assert load_tokenizer(tmp_path).encode("A dog\n") == tokenizer.encode("A dog\n")


def test_characters() -> None:
    tokenizer = train_tokenizer("characters", ["ba\n", "a b"], vocab_size=9)
    assert tokenizer.vocab_size == 6
    assert tokenizer.tokens(range(6)) == ["<|endoftext|>", "<unk>", "\n", " ", "a", "b"]
    assert tokenizer.encode("a \nbz") == [4, 3, 2, 5, 1, 0]
    with pytest.raises(InputError, match="set vocab_size to 6 or more"):
        train_tokenizer("characters", ["ba\n", "a b"], vocab_size=5)
    with pytest.raises(InputError, match="must be at least 257 for a byte-level BPE"):
        train_tokenizer("gpt2", CORPUS, vocab_size=256)


@pytest.mark.data
def test_llamas_sentencepiece_begins_and_does_not_end_a_text(tmp_path) -> None:
    folder = published("../checkpoints/stories260K")
    tokenizer = load_tokenizer(folder / "hf")
    expected = [int(i) for i in (folder / "expected_greedy_ids.txt").read_text().split()]
    text = (folder / "expected_greedy200.txt").read_text(encoding="utf-8")
    assert text == tokenizer.decode(expected) + " she"  # printed one step longer
    assert tokenizer("Once upon a time")["input_ids"][0].tolist() == [1, 403, 407, 261, 378]
    assert tokenizer.decode(tokenizer.encode("한 café")) == "한 café"  # byte by byte
    tokenizer.save(tmp_path)
    assert (tmp_path / "tokenizer.model").is_file()
    again = load_tokenizer(tmp_path)
    assert again("Once")["input_ids"].tolist() == tokenizer("Once")["input_ids"].tolist()
    (tmp_path / "tokenizer_config.json").write_text('{"add_bos_token": false}')
    assert load_tokenizer(tmp_path)("Once upon")["input_ids"][0].tolist() == [403, 407]
