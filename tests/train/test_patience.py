"""Early stopping, decided by the log alone."""

import json
import shutil
from pathlib import Path

import pytest

import train.loop
from tests.train import tiny_classifier
from tests.train.folders import leaves, records, untimed
from train.__main__ import main
from train.log import METRICS
from train.patience import evaluations_since_best, is_out, judged_by

PATIENT = ("--eval-every", "1", "--patience", "2", "--steps", "12", "--schedule.peak", "1e-9")


@pytest.mark.parametrize(
    ("values", "higher", "lower"),
    [
        ([], 0, 0),
        ([1.0], 0, 0),
        ([1.0, 2.0, 3.0], 0, 2),
        ([1.0, 1.0, 1.0], 2, 2),  # as good is not better
        ([3.0, None, float("nan")], 2, 2),
        ([None, 3.0], 0, 0),
    ],
)
def test_evaluations_since_the_best(values, higher, lower):
    assert evaluations_since_best(values, higher_is_better=True) == higher
    assert evaluations_since_best(values, higher_is_better=False) == lower


def test_the_log_decides(tmp_path):
    experiment = tiny_classifier.config(patience=2)
    assert judged_by(experiment) == ("accuracy", True)
    lines = [{"step": 1, "kind": "train", "accuracy": 0.9}]
    lines += [
        {"step": step, "kind": "eval", "accuracy": accuracy}
        for step, accuracy in enumerate((0.5, 0.6, 0.6, 0.4), start=1)
    ]
    (tmp_path / METRICS).write_text("".join(json.dumps(line) + "\n" for line in lines[:-1]))
    assert not is_out(experiment, tmp_path)
    (tmp_path / METRICS).write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert is_out(experiment, tmp_path)
    assert not is_out(tiny_classifier.config(patience=3), tmp_path)
    assert not is_out(tiny_classifier.config(), tmp_path)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory, labelled_examples) -> Path:
    """A run that cannot learn, and gave up."""
    workdir = tmp_path_factory.mktemp("stopped") / "run"
    command = ["run", tiny_classifier.CONFIG, "--workdir", str(workdir), *PATIENT]
    assert main(command) == 0
    return workdir


@pytest.mark.runs
def test_a_run_ends_early_and_is_finished(stopped, capsys):
    last = records(stopped)[-1]
    assert last["final"] and last["step"] == 3 and last["best_step"] in (1, 2, 3)
    assert "test/accuracy" in last
    command = ["run", tiny_classifier.CONFIG, "--workdir", str(stopped), *PATIENT]
    assert main(command) == 0
    assert "holds this run, finished at step 3: nothing is left to do" in capsys.readouterr().out


@pytest.mark.runs
def test_an_interrupted_run_ends_at_the_same_step(stopped, tmp_path, monkeypatch):
    """Killed just before the end: the evaluations before it are not forgotten."""
    workdir = tmp_path / "run"
    command = ["run", tiny_classifier.CONFIG, "--workdir", str(workdir), *PATIENT]

    class Killed(BaseException):
        pass

    def kill(self, step):
        if step == 3:
            raise Killed
        return whole(self, step)

    whole = train.loop.Training.validate
    with monkeypatch.context() as patch:
        patch.setattr(train.loop.Training, "validate", kill)
        with pytest.raises(Killed):
            main(command)
    assert main(command) == 0
    assert untimed(workdir) == untimed(stopped)
    assert leaves(workdir) == leaves(stopped)


@pytest.mark.runs
def test_more_patience_goes_on(stopped, tmp_path):
    workdir = Path(shutil.copytree(stopped, tmp_path / "run"))
    command = ["run", tiny_classifier.CONFIG, "--workdir", str(workdir), *PATIENT]
    assert main([*command, "--patience", "4"]) == 0
    assert records(workdir)[-1]["step"] == 5
