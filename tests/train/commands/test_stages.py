"""Stages: each from the one before, resumed between them, and models that are averaged."""

import json

import pytest

import train.commands.stages as command
from flaxformers_edu.errors import InputError
from tests.train import tiny
from tests.train.folders import leaves, records
from tests.train.tiny_stages import CONFIG, stages
from train.__main__ import main


@pytest.fixture
def trained_stages(monkeypatch):
    """What would be trained: (experiment, folder); every second one fails once."""
    found = []

    def train(experiment, folder):
        found.append((experiment, folder))
        return 3 if len(found) == 2 else 0

    monkeypatch.setattr(command, "train", train)
    monkeypatch.setattr(command, "based_on", lambda experiment, folder: experiment)
    return found


def test_each_begins_from_the_one_before(trained_stages, tmp_path, capsys):
    words = ["stages", CONFIG, "--workdir", str(tmp_path), "--classifier.steps", "7"]
    assert main(words) == 3  # the second stops, and so does the command
    assert main(words) == 0
    folders = [tmp_path / name for name in stages()]
    assert [folder for _, folder in trained_stages] == folders * 2
    (first, _), (second, _) = trained_stages[:2]
    assert first.init == "" and second.init == str(folders[0])
    assert (first.steps, second.steps) == (2, 7)
    assert f"stage classifier: {folders[1]}" in capsys.readouterr().out


def test_what_has_no_stages(tmp_path):
    with pytest.raises(InputError, match="tiny.py has no function stages"):
        command.stages([tiny.CONFIG, "--workdir", str(tmp_path)])


@pytest.mark.slow
def test_trained_resumed_and_averaged(tmp_path, capsys, labelled_examples):
    folder, words = tmp_path / "forward", ["stages", CONFIG, "--workdir"]
    assert main([*words, str(folder)]) == 0
    out = capsys.readouterr().out
    assert f"from {folder}/language: embedding, layers; new: classifier; left there: output" in out
    before = leaves(folder / "classifier")
    assert main([*words, str(folder)]) == 0
    assert capsys.readouterr().out.count("nothing is left to do") == 2
    assert leaves(folder / "classifier") == before

    backward = [f"--{stage}.objective.backward" for stage in stages()]
    assert main([*words, str(tmp_path / "backward"), *backward]) == 0
    runs = [tmp_path / name / "classifier" for name in ("forward", "backward")]
    examples = labelled_examples / "test.jsonl"
    said = []
    for beside in ((), ("--beside", str(runs[1]))):
        output = tmp_path / "said.jsonl"
        options = ["--input", str(examples), "--output", str(output)]
        assert main(["predict", str(runs[0]), *options, *beside]) == 0
        said.append([json.loads(line)["prediction"] for line in output.read_text().splitlines()])
    assert main(["predict", str(runs[1]), "--input", str(examples), "--output", str(output)]) == 0
    other = [json.loads(line)["prediction"] for line in output.read_text().splitlines()]
    for one, two, both in zip(said[0], other, said[1], strict=True):
        mean = (one["probabilities"]["positive"] + two["probabilities"]["positive"]) / 2
        assert both["probabilities"]["positive"] == pytest.approx(mean)
    assert main(["evaluate", str(runs[0]), "--beside", str(runs[1])]) == 0
    scores = json.loads(capsys.readouterr().out.splitlines()[-1])
    right = [json.loads(line)["label"] for line in examples.read_text().splitlines()]
    hits = [outcome["label"] == label for outcome, label in zip(said[1], right, strict=True)]
    assert scores["accuracy"] == pytest.approx(sum(hits) / len(hits))
    assert records(runs[0])[-1]["final"]


@pytest.mark.slow
def test_models_that_cannot_be_averaged(tmp_path, capsys, trained, classified):
    options = ["--input", str(tmp_path / "x.jsonl"), "--beside", str(trained)]
    (tmp_path / "x.jsonl").write_text(json.dumps({"text": "fine", "source": "a"}) + "\n")
    assert main(["predict", str(classified), *options]) == 2
    assert "gives no probabilities of labels" in capsys.readouterr().err
