"""`generate` with a language model: one text as it comes, several as JSON, bad input as a line."""

import io
import json
import sys

import pytest

from flaxformers_edu import generate_text
from flaxformers_edu.interop import from_pretrained
from tests.tiny_gpt import write
from tests.train.runs import finished_run
from tests.train.tiny_mappings import CONFIG
from train.__main__ import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("models") / "gpt")


@pytest.fixture(scope="module")
def greedy(folder):
    """What follows two prompts, the likeliest way."""
    found = from_pretrained(folder, "causal_lm")
    answers = generate_text(
        found.model, found.params, found.tokenizer, ["the cat", "a dog"], max_new_tokens=8
    )
    return [one.text for (one,) in answers]


def generated(folder, capsys, *options):
    assert main(["generate", str(folder), "--max-new-tokens", "8", *options]) == 0
    return capsys.readouterr().out


def test_one_text_is_shown_behind_its_prompt(folder, greedy, capsys):
    assert generated(folder, capsys, "--prompt", "the cat") == f"the cat{greedy[0]}\n"
    stop = greedy[0][2:4]
    words = ("--prompt", "the cat", "--stop", stop, "--no-repeat-ngram-size", "4")
    shown = generated(folder, capsys, *words)
    assert shown == f"the cat{greedy[0][: greedy[0].find(stop)]}\n"


def test_several_are_json(folder, greedy, capsys, tmp_path, monkeypatch):
    path = tmp_path / "prompts.txt"
    path.write_text("the cat\na dog\n")
    output = tmp_path / "texts.jsonl"
    generated(folder, capsys, "--input", str(path), "--output", str(output))
    expected = [
        {"prompt": prompt, "text": text, "ended": "length"}
        for prompt, text in zip(["the cat", "a dog"], greedy, strict=True)
    ]
    assert [json.loads(line) for line in output.read_text().splitlines()] == expected
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes())))
    lines = generated(folder, capsys, "--num-beams", "2", "--num-samples", "2").splitlines()
    assert [json.loads(line)["prompt"] for line in lines] == ["the cat"] * 2 + ["a dog"] * 2


def test_samples_follow_the_seed(folder, capsys):
    words = ("--prompt", "the cat", "--num-samples", "3", "--temperature", "1.5", "--top-k", "20")
    first = generated(folder, capsys, *words, "--seed", "1")
    assert len({json.loads(line)["text"] for line in first.splitlines()}) == 3
    assert generated(folder, capsys, *words, "--seed", "1") == first
    assert generated(folder, capsys, *words, "--seed", "2") != first


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--prompt", "cat " * 40], "more than the model's 24 positions: shorten the prompt"),
        (["--prompt", "a", "--num-beams", "300"], "num_beams is 300; it must be at most the size"),
        (["--prompt", "a", "--num-beams", "2", "--top-p", "0.5"], "1 when do_sample is set"),
        (["--prompt", "a", "--max-new-tokens", "0"], "max_new_tokens"),
        (["--prompt", "a", "--temperature", "0"], "temperature is 0.0"),
        (["--prompt", "a", "--stop", ""], "must be texts, none empty"),
        (["--input", "nowhere.txt"], "cannot read nowhere.txt"),
    ],
)
def test_bad_input_is_one_line(folder, capsys, options, message):
    assert main(["generate", str(folder), *options]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and message in line


@pytest.mark.runs
def test_a_run_goes_on(tmp_path_factory, capsys):
    run = finished_run(tmp_path_factory, "mappings", CONFIG)
    capsys.readouterr()  # what the training said
    shown = generated(run, capsys, "--prompt", "kalo ->", "--checkpoint", "last")
    assert shown.startswith("kalo ->") and shown.endswith("\n")


def test_folders_that_do_not_go_on(folder, capsys, tmp_path):
    assert main(["generate", str(tmp_path), "--prompt", "a"]) == 2
    assert "is not the folder of a run" in capsys.readouterr().err
    for path in folder.iterdir():
        if not path.name.startswith("tokenizer"):
            (tmp_path / path.name).write_bytes(path.read_bytes())
    assert main(["generate", str(tmp_path), "--prompt", "a"]) == 2
    assert "has no tokeniser" in capsys.readouterr().err
