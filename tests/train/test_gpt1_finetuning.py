"""GPT-1's way from end to end: a language model, its fine-tuning, and what others do with that."""

import json

import pytest

import flaxformers_edu as ff
from tests.train import tiny_gpt
from tests.train.folders import records
from train.__main__ import main

pytestmark = pytest.mark.slow  # two whole runs


@pytest.fixture(scope="module")
def runs(tmp_path_factory, labelled_examples):
    """The folders of a language model, and of a classifier that began from it."""
    base = tmp_path_factory.mktemp("gpt")
    language, tuned = base / "language", base / "tuned"
    command = ["run", tiny_gpt.LANGUAGE_CONFIG, "--workdir", str(language), "--steps", "2"]
    assert main([*command, "--eval-every", "2"]) == 0
    assert main(["run", tiny_gpt.CONFIG, "--workdir", str(tuned), "--init", str(language)]) == 0
    return language, tuned


def test_the_log_has_both_losses(runs):
    found = records(runs[1])
    training = [record for record in found if record["kind"] == "train"]
    for record in training:
        assert record["loss"] == pytest.approx(
            record["task_loss"] + 0.5 * record["lm_loss"], rel=1e-4
        )
    assert found[-1]["final"] and 0 <= found[-1]["test/accuracy"] <= 1


def test_the_tokens_are_in_the_runs_folder_and_in_the_export(runs, tmp_path, capsys):
    """`evaluate`, `predict` and a pipeline on the export read texts in the form that was learnt."""
    _, tuned = runs
    texts = ["the film was great", "her song was dull"]
    lines = [json.dumps({"text": text}) for text in texts]
    (tmp_path / "texts.jsonl").write_text("\n".join(lines) + "\n")
    capsys.readouterr()
    assert main(["predict", str(tuned), "--input", str(tmp_path / "texts.jsonl")]) == 0
    said = [json.loads(line)["prediction"] for line in capsys.readouterr().out.splitlines()]
    assert main(["export", str(tuned), str(tmp_path / "hf")]) == 0
    found = ff.pipeline("text-classification", str(tmp_path / "hf"))(texts)
    for one, other in zip(said, found, strict=True):
        assert other["label"] == one["label"]
        assert other["score"] == pytest.approx(max(one["probabilities"].values()), rel=1e-4)
    assert main(["evaluate", str(tuned)]) == 0
