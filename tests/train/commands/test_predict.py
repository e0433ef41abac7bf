"""`predict` and `evaluate` on a run that labels examples."""

import json

import pytest

from tests.train.folders import records
from tests.train.test_main import one_line
from train.__main__ import main

EXAMPLES = [{"text": "the film was great", "id": 7}, {"text": "our game was dull", "id": 8}]


@pytest.fixture
def unlabelled(tmp_path):
    path = tmp_path / "input.jsonl"
    lines = [json.dumps(example) for example in EXAMPLES]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def predicted(run, capsys, *options):
    assert main(["predict", str(run), *options]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_an_object_for_each_example(classified, unlabelled, capsys, tmp_path):
    found = predicted(classified, capsys, "--input", str(unlabelled))
    assert [{k: v for k, v in one.items() if k != "prediction"} for one in found] == EXAMPLES
    for one in found:
        answer = one["prediction"]
        assert sum(answer["probabilities"].values()) == pytest.approx(1)
        assert answer["label"] == max(answer["probabilities"], key=answer["probabilities"].get)
    assert found[0]["prediction"] != found[1]["prediction"]

    output = tmp_path / "output.jsonl"
    options = ("--input", str(unlabelled), "--output", str(output))
    assert predicted(classified, capsys, *options) == []
    assert [json.loads(line) for line in output.read_text().splitlines()] == found

    tsv = tmp_path / "input.tsv"
    tsv.write_text("text\tid\nthe film was great\t7\nour game was dull\t8\n")
    from_tsv = predicted(classified, capsys, "--input", str(tsv))
    assert [one["prediction"] for one in from_tsv] == [one["prediction"] for one in found]
    last = predicted(classified, capsys, "--input", str(tsv), "--checkpoint", "4")
    assert last[0]["prediction"] != found[0]["prediction"]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("input.txt", "a", "must be a .jsonl or a .tsv file"),
        ("input.jsonl", '{"text": "a"}\n{"txt": "b"}\n', "example 1: there is no field 'text'"),
        ("input.jsonl", '{"text": 3}\n', "example 0"),
        ("input.jsonl", "[1]\n", "line 1 is not a JSON object"),
        ("input.jsonl", "", "is empty"),
        ("input.tsv", "text\n", "has a header line but no rows"),
        ("input.tsv", "text\na\tb\n", "line 2 has 2 tab-separated columns, and the header 1"),
    ],
)
def test_bad_input_is_one_line(classified, capsys, tmp_path, name, text, words):
    path, output = tmp_path / name, tmp_path / "out.jsonl"
    path.write_text(text)
    options = ["--input", str(path), "--output", str(output)]
    assert words in one_line(capsys, "predict", str(classified), *options)
    assert not output.exists()


def test_a_file_that_is_not_there(classified, capsys, tmp_path):
    path = str(tmp_path / "nowhere.jsonl")
    assert "does not exist" in one_line(capsys, "predict", str(classified), "--input", path)


def test_runs_that_label_nothing(trained, masked, unlabelled, capsys):
    words = one_line(capsys, "predict", str(trained), "--input", str(unlabelled))
    assert "writes texts: use `generate" in words
    words = one_line(capsys, "predict", str(masked), "--input", str(unlabelled))
    assert "its objective predicts nothing" in words
    words = one_line(capsys, "generate", str(masked))
    assert "was not trained to continue texts: its task is masked_lm" in words


def test_evaluate_repeats_the_scores_of_the_run(classified, capsys, tmp_path):
    final = records(classified)[-1]
    output = tmp_path / "outcomes.jsonl"
    step = str(final["best_step"])
    options = ["--checkpoint", step, "--output", str(output)]
    assert main(["evaluate", str(classified), *options]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["accuracy"] == pytest.approx(final["test/accuracy"])
    assert found["loss"] == pytest.approx(final["test/loss"], rel=1e-5)
    outcomes = [json.loads(line) for line in output.read_text().splitlines()]
    assert len(outcomes) == 12 and set(outcomes[0]) == {"label", "probabilities"}


def test_there_are_no_outcomes_of_a_loss(masked, capsys, tmp_path):
    output = str(tmp_path / "out")
    assert "nothing for --output" in one_line(capsys, "evaluate", str(masked), "--output", output)


def test_every_evaluation_scores_the_whole_validation_split(classified):
    evaluations = [record for record in records(classified) if record["kind"] == "eval"]
    assert [record["step"] for record in evaluations] == [3, 6]
    for record in evaluations:
        correct = record["accuracy"] * 12
        assert correct == pytest.approx(round(correct))
