import dataclasses
import json

import jax
import pytest

from flaxformers_edu.sharding import MeshShape
from tests.train.folders import records
from train.__main__ import main
from train.evaluate import Evaluator, encode_split, evaluation_batching
from train.pipeline import Batching
from train.prepare import open_finished
from train.restore import load_params


def test_the_command_repeats_the_scores_of_the_run(trained, capsys):
    final = records(trained)[-1]
    step = str(final["best_step"])
    assert main(["evaluate", str(trained), "--checkpoint", step]) == 0
    text = capsys.readouterr().out
    found = json.loads(text)
    assert found["split"] == "test" and found["step"] == final["best_step"]
    assert found["loss"] == pytest.approx(final["test/loss"], rel=1e-5)
    assert found["bleu_beam2"] == pytest.approx(final["test/bleu_beam2"])
    assert (trained / "evaluation-test.json").read_text(encoding="utf-8") == text


def test_options(trained, capsys, tmp_path):
    output = tmp_path / "predictions.txt"
    options = ["--split", "validation", "--limit", "5", "--num-beams", "1", "--checkpoint", "last"]
    assert main(["evaluate", str(trained), *options, "--output", str(output)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["step"] == 6 and "bleu_greedy" in found and "bleu_beam2" not in found
    assert len(output.read_text(encoding="utf-8").split("\n")) == 6


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--split", "tst"], "unknown split 'tst'; did you mean 'test'?"),
        (["--limit", "0"], "--limit is 0; it must be at least 1"),
        (["--checkpoint", "best5"], "'best5' is not there; choose last, best"),
        (["--num-beams", "-1"], "num_beams is -1; it must be at least 1"),
    ],
)
def test_bad_options_are_one_line(trained, capsys, options, words):
    assert main(["evaluate", str(trained), *options]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and words in line


def test_predictions_do_not_depend_on_the_mesh(trained):
    run = open_finished(trained)
    split = encode_split(run, run.experiment.source.load("validation"))
    found = []
    for devices in (jax.devices()[:1], jax.devices()):
        mesh = MeshShape().build(devices)
        params, _ = load_params(run, "last", mesh)
        evaluator = Evaluator(run, mesh)
        found.append(
            (
                evaluator.loss(params, split),
                evaluator.predict(params, split, run.experiment.decoding),
            )
        )
    (loss, predictions), (loss_8, predictions_8) = found
    assert loss_8 == pytest.approx(loss, rel=1e-5)
    assert predictions_8 == predictions


def test_batches_are_left_when_asked(trained):
    run = open_finished(trained)
    mesh = MeshShape().build(jax.devices()[:1])
    split = encode_split(run, run.experiment.source.load("validation"))

    class Enough(Exception):
        pass

    def check():
        raise Enough

    with pytest.raises(Enough):
        Evaluator(run, mesh, check=check).loss(None, split)


def test_the_first_examples(trained):
    run = open_finished(trained)
    split = encode_split(run, run.experiment.source.load("test"))
    assert len(split.first(None)) == len(split.first(99)) == len(split) == 16
    some = split.first(3)
    assert len(some) == len(some.rows) == 3
    assert some.examples == [split.examples[i] for i in range(3)]
    assert [some.rows[i]["labels"].tolist() for i in range(3)] == [
        split.rows[i]["labels"].tolist() for i in range(3)
    ]


def test_evaluation_drops_nothing_and_has_few_shapes():
    batching = Batching(max_source_length=100, max_target_length=80, packing=True)
    found = evaluation_batching(dataclasses.replace(batching, over_length="drop"))
    assert found.over_length == "truncate" and not found.packing
    assert found.lengths == (25, 50, 100)
    assert evaluation_batching(batching).over_length == "error"
