"""Rows of characters in the trainer; slow: a biLM is trained, and a tagger begins from it."""

import json

import numpy as np
import pytest

from flaxformers_edu.text.characters import CharacterTokenizer
from train.__main__ import main
from train.encoding import encode_examples
from train.pipeline import Batching

WORDS = CharacterTokenizer()
TEXTS = ["the cat sat", "a cat"]
TINY = (
    *("--model.filters", "1", "4", "2", "4", "--model.character-size", "4"),
    *("--model.projection-size", "8", "--model.hidden-size", "16", "--model.vocab-size", "300"),
)
QUICK = ("--steps", "4", "--eval-every", "2", "--checkpoint-every", "2", "--log-every", "2")


def encoded(texts):
    rows = ({"input_ids": WORDS.encode(text), "labels": [1]} for text in texts)
    return encode_examples(rows, dict, Batching(max_source_length=8))


def test_each_word_is_kept_once():
    examples = encoded(TEXTS)
    assert examples.tables["input_ids"].shape == (5, 50)  # the cat sat </S> a
    for row, text in zip(examples, TEXTS, strict=True):
        assert WORDS.tokens(row["input_ids"]) == [*text.split(), "</S>"]
    np.testing.assert_array_equal(examples.lengths, [[4, 1], [3, 1]])
    assert WORDS.tokens(examples.of_first(1)[0]["input_ids"])[0] == "the"


def test_the_fingerprint_sees_the_spelling():
    assert encoded(TEXTS).fingerprint == encoded(TEXTS).fingerprint
    assert encoded(TEXTS).fingerprint != encoded(["the cot sat", "a cot"]).fingerprint


def conll(path, sentences):
    lines = ["\n".join(f"{w}\t{'B-person' if w[0].isupper() else 'O'}" for w in s.split())
             for s in sentences]  # fmt: skip
    path.write_text("\n\n".join(lines) + "\n")
    return str(path)


@pytest.mark.slow
def test_a_tagger_begins_from_a_language_model(tmp_path, capsys):
    bilm, tagger = tmp_path / "bilm", tmp_path / "tagger"
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n".join(["Anna sees the cat .", "the dog sees Bob ."] * 20))
    source = ("--source.train", str(corpus), "--source.validation", str(corpus))
    config = tmp_path / "tiny_elmo.py"
    config.write_text(
        "import dataclasses\nfrom configs import elmo_mini\nfrom train.sources import TextFile\n\n"
        "def config():\n"
        "    return dataclasses.replace(elmo_mini.config(), source=TextFile())\n"
    )
    options = ("--objective.negatives", "5", "--schedule.warmup-steps", "1")
    assert main(["run", str(config), "--workdir", str(bilm), *source, *QUICK, *TINY, *options]) == 0
    last = json.loads((bilm / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["final"] and last["validation/backward_perplexity"] > 1
    data = conll(tmp_path / "tags.txt", [f"Anna sees Bob {n}" for n in range(60)])
    files = ("--source.train", data, "--source.validation", data, "--source.test", data)
    begins = ("--init", str(bilm), "--schedule.warmup-steps", "1")
    wnut = "configs/finetune/elmo_wnut17.py"
    assert main(["run", wnut, "--workdir", str(tagger), *files, *QUICK, *begins]) == 0
    said = capsys.readouterr().out
    assert "new: classifier, mix, own_words, task_encoder; left there: output" in said
    without = ("--model.head.features", "none", "--optimizer.frozen", "--optimizer.no-decay")
    alone = tmp_path / "without"
    warm = ("--schedule.warmup-steps", "1", *TINY)
    assert main(["run", wnut, "--workdir", str(alone), *files, *QUICK, *warm, *without]) == 0
    assert main(["export", str(bilm), str(tmp_path / "exported")]) == 0
    assert (tmp_path / "exported" / "options.json").exists()
