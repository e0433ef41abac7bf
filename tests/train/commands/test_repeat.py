"""`repeat`: several seeds, each in its folder."""

import json
import shutil

import pytest

from tests.train import tiny_classifier
from tests.train.folders import records
from tests.train.test_main import one_line
from train.__main__ import main
from train.commands.run import summary


def test_mean_and_deviation():
    found = summary({3: {"test/f1": 1.0}, 4: {"test/f1": 2.0}, 5: {"test/f1": 6.0}})
    assert found["seeds"] == [3, 4, 5]
    of_f1 = found["metrics"]["test/f1"]
    assert of_f1["mean"] == 3.0 and of_f1["values"] == [1.0, 2.0, 6.0]
    assert of_f1["deviation"] == pytest.approx(7**0.5)  # (4 + 1 + 9) / 2
    assert summary({0: {"test/f1": 1.0}})["metrics"]["test/f1"]["deviation"] is None


@pytest.mark.runs
def test_seeds_have_folders_and_are_not_run_twice(labelled_examples, tmp_path, capsys):
    command = ["repeat", tiny_classifier.CONFIG, "--workdir", str(tmp_path), "--seeds", "2"]
    command += ["--seed", "5", "--steps", "2"]
    assert main(command) == 0
    text = (tmp_path / "summary.json").read_text()
    found = json.loads(text)
    assert found["seeds"] == [5, 6]
    losses = [records(tmp_path / f"seed-{seed}")[-1]["test/loss"] for seed in (5, 6)]
    assert found["metrics"]["test/loss"]["values"] == losses and losses[0] != losses[1]
    assert "±" in capsys.readouterr().out

    shutil.rmtree(tmp_path / "seed-6")
    (tmp_path / "summary.json").unlink()
    assert main(command) == 0
    assert (tmp_path / "summary.json").read_text() == text
    assert "finished at step 2: nothing is left to do" in capsys.readouterr().out


def test_bad_input_is_one_line(labelled_examples, capsys, tmp_path):
    command = ["repeat", tiny_classifier.CONFIG, "--workdir", str(tmp_path / "new")]
    assert "--seeds is 0; it must be at least 1" in one_line(capsys, *command, "--seeds", "0")
    assert "steps is 0" in one_line(capsys, *command, "--steps", "0")
    assert not (tmp_path / "new").exists()
