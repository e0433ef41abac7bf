"""`prompt`: a table of scores, from a run or a folder of Hugging Face."""

import json
import os
from pathlib import Path

import pytest

from flaxformers_edu.prompting import evaluate_prompts, load_task
from tests.train.runs import finished_run
from tests.train.test_main import one_line
from tests.train.tiny_mappings import CONFIG
from train.__main__ import main
from train.commands.language import language_model

EXAMPLES = [{"x": x, "y": y} for x, y in [("kalo", "bima"), ("doki", "sena"), ("ruta", "bima")]]
TASK = {
    "kind": "choice",
    "name": "words",
    "prompt": "; {x} ->",
    "candidates": ["bima", "sena"],
    "answer": "{y}",
    "separator": " ",
    "test": EXAMPLES,
    "train": [*EXAMPLES, {"x": "tume", "y": "sena"}],
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return finished_run(tmp_path_factory, "mappings", CONFIG)


@pytest.fixture
def task(tmp_path):
    path = tmp_path / "task.json"
    path.write_text(json.dumps(TASK))
    return path


def test_a_row_for_each_number_of_shots(run, task, capsys, tmp_path):
    output = tmp_path / "scores.json"
    words = ["prompt", str(run), "--task", str(task), "--shots", "0", "2", "--output", str(output)]
    assert main([*words, "--batch-size", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "words: 3 examples of test"
    header, *rows = [line.split() for line in lines[2:]]
    assert header[:3] == ["shots", "accuracy", "accuracy_sum"]
    assert [row[0] for row in rows] == ["0", "2"]
    found = json.loads(output.read_text())
    assert found["task"] == "words" and found["folder"] == str(run)
    file = load_task(task)
    direct = evaluate_prompts(
        language_model(run, "best"), file.task, EXAMPLES, train=TASK["train"], shots=(0, 2)
    )
    for row, saved, one in zip(rows, found["evaluations"], direct, strict=True):
        assert saved["metrics"] == pytest.approx(one.metrics)
        assert float(row[1]) == pytest.approx(one.metrics["accuracy"], abs=1e-3)
        assert saved["outcomes"][0]["chosen"] == one.outcomes[0]["chosen"]


def test_prompts_with_room_for_fewer_demonstrations_are_told(run, task, capsys):
    long = [{"x": f"{x} " * 25, "y": "bima"} for x in ("kalo", "doki", "ruta", "tume")]
    task.write_text(json.dumps({**TASK, "test": long, "train": long}))
    assert main(["prompt", str(run), "--task", str(task), "--shots", "3", "--limit", "2"]) == 0
    assert "2 prompts had room for fewer than 3 demonstrations" in capsys.readouterr().out


def test_bad_input_is_one_line(run, trained, task, capsys, tmp_path):
    words = ["prompt", str(run), "--task", str(task)]
    assert "there is no task file" in one_line(capsys, *words[:3], str(tmp_path / "no.json"))
    assert "--limit is 0" in one_line(capsys, *words, "--limit", "0")
    assert "cannot be drawn from 3" in one_line(capsys, *words, "--shots", "4")
    assert "has no 'validation'" in one_line(capsys, *words, "--split", "validation")
    line = one_line(capsys, "prompt", str(trained), "--task", str(task))
    assert "was not trained to continue texts" in line
    line = one_line(capsys, "prompt", str(tmp_path), "--task", str(task))
    assert "is not the folder of a model" in line
    task.write_text(json.dumps({**TASK, "prompt": "{y} {z}"}))
    assert "unknown field of the template 'z'" in one_line(capsys, *words)


@pytest.mark.data
@pytest.mark.skipif("FLAXFORMERS_DATA" not in os.environ, reason="needs FLAXFORMERS_DATA")
def test_a_folder_of_hugging_face(capsys, tmp_path):
    """What a trained model has written itself by greedy search surprises it little."""
    folder = Path(os.environ["FLAXFORMERS_DATA"]) / "checkpoints" / "stories260K"
    text = (folder / "expected_greedy200.txt").read_text().strip()
    path, output = tmp_path / "task.json", tmp_path / "scores.json"
    path.write_text(json.dumps({"kind": "text", "name": "story", "test": [{"text": text}]}))
    words = ["prompt", str(folder / "hf"), "--task", str(path), "--output", str(output)]
    assert main(words) == 0
    assert "token_perplexity" in capsys.readouterr().out
    [found] = json.loads(output.read_text())["evaluations"]
    assert 1 < found["metrics"]["token_perplexity"] < 3
