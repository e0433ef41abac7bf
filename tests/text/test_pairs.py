"""Tokenisers of encoders: pairs, templates, spans, words, training, and the older files."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from flaxformers_edu.errors import InputError
from flaxformers_edu.text import Tokenizer, load_tokenizer
from flaxformers_edu.text.sentencepiece_training import train_sentencepiece
from flaxformers_edu.text.template import longest_first
from flaxformers_edu.text.training import train_byte_bpe, train_tokenizer, train_wordpiece

CORPUS = [
    "The cats saw the dogs, and the dogs saw cats.",
    "A dog sees the unseen cat in the park; the cat sees it.",
    "고양이가 공원에서 개를 봐요.",
    "Café naïve? Then the seeing dog's unseeing cats parked.",
] * 5
TEXTS = ("the cat  sees,  a dog's park", "고양이가 봐요", "", "Unseen Café!")
KINDS = ("wordpiece", "albert", "byte_bpe")


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request) -> Tokenizer:
    sizes = {"wordpiece": 150, "albert": 55, "byte_bpe": 320}
    return train_tokenizer(request.param, CORPUS, vocab_size=sizes[request.param])


def test_special_tokens(tokenizer) -> None:
    assert isinstance(tokenizer, Tokenizer)
    t = tokenizer
    named = {t.pad_token_id, t.cls_token_id, t.sep_token_id, t.mask_token_id}
    assert None not in named
    assert named <= t.special_ids
    assert t.unk_token_id not in t.special_ids
    assert t.eos_token_id == t.sep_token_id
    assert t.starts_word.shape == (t.vocab_size,)
    assert t.starts_word.dtype == np.bool_


def test_ids_of_trained_kinds() -> None:
    wordpiece = train_wordpiece(CORPUS, vocab_size=150)
    assert wordpiece.tokens(range(5)) == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert train_byte_bpe(CORPUS, vocab_size=270).tokens(range(5)) == [
        "<s>", "<pad>", "</s>", "<unk>", "<mask>"
    ]  # fmt: skip
    albert = train_tokenizer("albert", CORPUS, vocab_size=55)
    assert albert.tokens(range(5)) == ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"]


def test_templates(tokenizer) -> None:
    t = tokenizer
    cls, sep = t.cls_token_id, t.sep_token_id
    assert t.join([90, 91]) == ([cls, 90, 91, sep], [0] * 4)
    middle = [sep, sep] if t.tokens([cls]) == ["<s>"] else [sep]
    ids, types = t.join([90], [91, 92])
    assert ids == [cls, 90, *middle, 91, 92, sep]
    assert types == ([0] * 7 if len(middle) == 2 else [0, 0, 0, 1, 1, 1])
    assert (t.num_special(False), t.num_special(True)) == (2, 2 + len(middle))


def test_a_batch_is_joined_pieces(tokenizer) -> None:
    t = tokenizer
    batch = t([TEXTS[0], TEXTS[1]], [TEXTS[3], TEXTS[0]])
    for row, (a, b) in enumerate([(TEXTS[0], TEXTS[3]), (TEXTS[1], TEXTS[0])]):
        ids, types = t.join(t.pieces(a).ids, t.pieces(b).ids)
        assert batch["input_ids"][row][: len(ids)].tolist() == ids
        assert batch["attention_mask"][row].sum() == len(ids)
        if "token_type_ids" in batch:
            assert batch["token_type_ids"][row].tolist()[: len(ids)] == types
    assert ("token_type_ids" in batch) == (t.num_special(True) == 3)
    cut = t([TEXTS[0]], [TEXTS[0]], max_length=11, truncation=True)
    whole = t.pieces(TEXTS[0]).ids
    room = 11 - t.num_special(True)
    kept = longest_first(len(whole), len(whole), room)
    assert cut["input_ids"][0].tolist() == t.join(whole[: kept[0]], whole[: kept[1]])[0]
    with pytest.raises(InputError, match="2 texts but 1 text_pairs"):
        t(["a", "b"], ["c"])
    with pytest.raises(InputError, match="no room"):
        t(["a"], ["b"], max_length=2, truncation=True)


def test_spans_are_of_the_text(tokenizer) -> None:
    for text in TEXTS:
        found = tokenizer.pieces(text)
        assert found.ids == tokenizer.encode(text, add_eos=False)
        assert len(found.ids) == len(found.spans)
        covered = sorted({i for span in found.spans for i in range(*span)})
        assert covered == [i for i, character in enumerate(text) if not character.isspace()]
        assert all(a == b or not text[a].isspace() for a, b in found.spans)
        assert found.spans == sorted(found.spans)


def test_words_begin_where_words_begin(tokenizer) -> None:
    text = "the parkcats seesee dogs park"
    found = tokenizer.pieces(text)
    begins = tokenizer.starts_word[found.ids]
    places = {span[0] for span, first in zip(found.spans, begins, strict=True) if first}
    words = {i for i, c in enumerate(text) if c != " " and (i == 0 or text[i - 1] == " ")}
    if tokenizer.tokens([tokenizer.cls_token_id]) == ["<s>"]:
        words -= {0}  # a byte-level BPE marks the space before a word
    assert places == words
    assert len(found.ids) > len(words)


def test_special_tokens_are_read_in_text(tokenizer) -> None:
    mask = tokenizer.tokens([tokenizer.mask_token_id])[0]
    text = f"the {mask} sees a {mask}."
    found = tokenizer.pieces(text)
    assert found.ids.count(tokenizer.mask_token_id) == 2
    where = found.ids.index(tokenizer.mask_token_id)
    assert text[slice(*found.spans[where])] == mask
    assert tokenizer.pieces("the").ids == found.ids[:where]


def test_kept_and_copied(tokenizer, tmp_path) -> None:
    tokenizer.save(tmp_path)
    for copy in (load_tokenizer(tmp_path), pickle.loads(pickle.dumps(tokenizer))):
        assert copy.fingerprint == tokenizer.fingerprint
        assert copy.mask_token_id == tokenizer.mask_token_id
        np.testing.assert_array_equal(copy(["The Café"], ["x"])["input_ids"],
                                      tokenizer(["The Café"], ["x"])["input_ids"])  # fmt: skip


@pytest.mark.parametrize("kind", ["wordpiece", "albert"])
def test_case_and_accents(kind, tmp_path) -> None:
    size = 300 if kind == "wordpiece" else 50
    kept = train_tokenizer(kind, CORPUS, vocab_size=size, lower_case=False)
    gone = train_tokenizer(kind, CORPUS, vocab_size=size, lower_case=True, strip_accents=True)
    kept.save(tmp_path)
    for t in (kept, load_tokenizer(tmp_path)):
        assert t.decode(t.encode("The Café", add_eos=False)) == "The Café"
    assert gone.decode(gone.encode("The Café", add_eos=False)) == "the cafe"
    assert gone.pieces("Café").ids == gone.pieces("CAFE").ids


def test_training_leaves_nothing_to_chance() -> None:
    code = (
        "from flaxformers_edu.text.training import train_wordpiece as t, train_byte_bpe as b;"
        f"c = {CORPUS!r};"
        "print(t(c, vocab_size=150).fingerprint, b(c, vocab_size=300).fingerprint)"
    )
    runs = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
        for _ in range(2)
    }
    here = train_wordpiece(CORPUS, vocab_size=150), train_byte_bpe(CORPUS, vocab_size=300)
    assert runs == {" ".join(t.fingerprint for t in here) + "\n"}


def test_training_errors() -> None:
    with pytest.raises(InputError, match="did you mean 'wordpiece'"):
        train_tokenizer("wordpeice", CORPUS, vocab_size=100)
    with pytest.raises(InputError, match="corpus is empty"):
        train_wordpiece([" "], vocab_size=100)
    with pytest.raises(InputError, match="corpus is empty"):
        train_byte_bpe([], vocab_size=300)
    with pytest.raises(InputError, match="must be at least 261"):
        train_byte_bpe(CORPUS, vocab_size=100)
    with pytest.raises(InputError, match=r"vocab_size=8 .*set vocab_size to \d+ or more"):
        train_wordpiece(CORPUS, vocab_size=8)


def test_sentencepiece_without_a_template() -> None:
    plain = train_sentencepiece(CORPUS, vocab_size=55)
    a, b = (plain.encode(text, add_eos=False) for text in ("cat", "dog"))
    assert plain.join(a) == ([*a, 1], [0] * (len(a) + 1))
    assert plain.join(a, b)[0] == [*a, 1, *b, 1]
    assert plain.mask_token_id is None
    assert plain.special_ids == {0, 1, 3}
    assert "token_type_ids" not in plain(["cat"], ["dog"])
    text = "The  cat sees"
    assert "".join(text[slice(*span)] for span in plain.pieces(text).spans) == "Thecatsees"


def test_vocab_txt(tmp_path) -> None:
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "The", "cat", "##s", "cafe"]
    (tmp_path / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    lower = load_tokenizer(tmp_path)
    assert lower(["The cats Café [MASK]"])["input_ids"].tolist() == [[2, 5, 7, 8, 9, 4, 3]]
    assert lower(["the"], ["cats"])["token_type_ids"].tolist() == [[0, 0, 0, 1, 1, 1]]
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    assert load_tokenizer(tmp_path).encode("The the Café") == [6, 5, 1, 3]
    assert load_tokenizer(tmp_path / "vocab.txt").vocab_size == 10
    (tmp_path / "vocab.txt").write_text("a\nb\n")
    with pytest.raises(InputError, match=r"vocab.txt has no '\[PAD\]'"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("names", [("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe")])
def test_vocab_and_merges(names, tmp_path) -> None:
    trained = train_byte_bpe(CORPUS, vocab_size=300)
    trained.save(tmp_path)
    model = json.loads((tmp_path / "tokenizer.json").read_text())["model"]
    folder = tmp_path / "old"
    folder.mkdir()
    (folder / names[0]).write_text(json.dumps(model["vocab"]))
    with pytest.raises(InputError, match=f"{names[1]} does not exist"):
        load_tokenizer(folder)
    merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in model["merges"]]
    (folder / names[1]).write_text("\n".join(["#version: 0.2", *merges]) + "\n", encoding="utf-8")
    old = load_tokenizer(folder)
    for text in TEXTS:
        np.testing.assert_array_equal(
            old([text], ["cat"])["input_ids"], trained([text], ["cat"])["input_ids"]
        )
    assert old.mask_token_id == 4


def _expected(name: str) -> list[tuple[str, list[int]]]:
    folder = os.environ.get("FLAXFORMERS_DATA")
    if not folder:
        pytest.skip("FLAXFORMERS_DATA names no folder of real data")
    expected = Path(folder) / "tokenizers" / "expected_ggml"
    texts = (expected / f"{name}.inp").read_bytes().decode().split("\n__ggml_vocab_test__\n")
    lines = (expected / f"{name}.out").read_text().splitlines()
    return [
        (text, [int(i) for i in line.split()]) for text, line in zip(texts, lines, strict=False)
    ]


@pytest.mark.parametrize(
    ("name", "path", "size"),
    [("gpt-2", "gpt2", 50257), ("bert-bge", "bert/uncased_vocab.txt", 30522)],
)
def test_released_vocabularies_give_the_published_ids(name, path, size) -> None:
    cases = _expected(name)
    tokenizer = load_tokenizer(Path(os.environ["FLAXFORMERS_DATA"]) / "tokenizers" / path)
    assert tokenizer.vocab_size == size
    assert len(cases) > 40
    for text, ids in cases:
        assert tokenizer.pieces(text).ids == ids, repr(text)


@pytest.mark.parametrize(("name", "size"), [("kcbert", 30000), ("koelectra_v1", 32200)])
def test_released_korean_vocabularies(name, size, tmp_path) -> None:
    _expected("gpt-2")
    folder = Path(os.environ["FLAXFORMERS_DATA"]) / "tokenizers" / "korean"
    (tmp_path / "vocab.txt").write_bytes((folder / f"{name}_vocab.txt").read_bytes())
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.vocab_size == size
    text = "이 영화는 정말 재미있었다"
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.unk_token_id not in tokenizer.encode(text)
