"""Whole runs with batches that poison whoever trains on them."""

import jax.numpy as jnp
import numpy as np
import pytest

import train.assemble
import train.loop
from tests.train.folders import leaves, records, untimed
from tests.train.test_loop import kill_at
from tests.train.tiny import STEPS, config
from train.bad_steps import BadSteps
from train.loop import Training, run
from train.summary import Summary

pytestmark = pytest.mark.runs

SKIP = config(bad_steps=BadSteps("skip", max_in_a_row=1))
GO_BACK = config(bad_steps=BadSteps("rollback", leave_out=1, max_rollbacks=2))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return Training(config(), tmp_path_factory.mktemp("data")).data


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    monkeypatch.setattr(train.loop, "write_summary", lambda *_: Summary([], []))


@pytest.fixture
def poison(data, monkeypatch):
    """Makes the loss of some batches, by their index, and its gradient NaN."""
    make = train.assemble.make_train_step

    def poison_batches(*indices):
        sums = jnp.array([data.batch_at(i)["input_ids"].sum() for i in indices])

        class Poisoned:
            def __init__(self, objective):
                self.objective = objective

            def loss(self, model, params, batch, key):
                loss = self.objective.loss(model, params, batch, key)
                bad = (batch["input_ids"].sum() == sums).any()
                return loss.replace(sum=loss.sum * jnp.where(bad, jnp.nan, 1.0))

        def poisoned(model, objective, *arguments, **settings):
            return make(model, Poisoned(objective), *arguments, **settings)

        monkeypatch.setattr(train.assemble, "make_train_step", poisoned)

    return poison_batches


def of_kind(workdir, kind):
    return [record for record in records(workdir) if record["kind"] == kind]


def steps_of(workdir, kind="train"):
    return [record["step"] for record in of_kind(workdir, kind)]


def test_a_bad_step_is_skipped_and_noted(poison, tmp_path, monkeypatch, capsys):
    poison(3)
    assert run(SKIP, tmp_path / "run") == 0
    assert "step      4/6  skipped: loss is nan" in capsys.readouterr().out
    [bad] = of_kind(tmp_path / "run", "bad_step")
    assert (bad["step"], bad["loss"], bad["reason"]) == (4, None, "loss is nan")
    assert steps_of(tmp_path / "run") == list(range(1, STEPS + 1))
    losses = [record["loss"] for record in of_kind(tmp_path / "run", "train")]
    assert [i for i, loss in enumerate(losses, 1) if loss is None] == [4]

    with monkeypatch.context() as patch:
        kill_at(patch, 4)  # the very step
        assert run(SKIP, tmp_path / "resumed") == 143
    assert run(SKIP, tmp_path / "resumed") == 0
    assert leaves(tmp_path / "resumed") == leaves(tmp_path / "run")
    assert untimed(tmp_path / "resumed") == untimed(tmp_path / "run")


@pytest.mark.slow
def test_too_many_bad_steps_in_a_row_stop_the_run(poison, tmp_path, capsys):
    poison(3, 4)
    assert run(SKIP, tmp_path) == 3
    [line] = capsys.readouterr().err.splitlines()
    assert "loss is nan at step 5; the last good checkpoint is" in line
    assert len(of_kind(tmp_path, "bad_step")) == 1


def test_going_back_leaves_the_bad_data_out(data, poison, tmp_path, monkeypatch, capsys):
    poison(3)
    seen = []
    batch_at = type(data).batch_at
    with monkeypatch.context() as patch:
        patch.setattr(type(data), "batch_at", lambda self, i: seen.append(i) or batch_at(self, i))
        assert run(GO_BACK, tmp_path / "run") == 0
    # Step 4 was bad: back to the checkpoint of step 3, and on with batch 5 (3 and 4 are left out).
    assert max(seen) == 7 and {5, 6, 7} <= set(seen)
    assert "back to step 3, leaving out 2 batches" in capsys.readouterr().out
    [note] = of_kind(tmp_path / "run", "rollback")
    assert (note["step"], note["bad_step"], note["left_out"]) == (3, 4, 2)
    assert steps_of(tmp_path / "run") == list(range(1, STEPS + 1))
    assert steps_of(tmp_path / "run", "eval") == [3, 6]
    last = of_kind(tmp_path / "run", "train")[-1]
    assert last["epoch"] == pytest.approx(8 / data.steps_per_epoch)

    class Killed(BaseException):
        pass

    def killed(self, step):
        raise Killed

    with monkeypatch.context() as patch:  # before anything is noted or saved
        patch.setattr(train.loop.RunLog, "rewind", killed)
        with pytest.raises(Killed):
            run(GO_BACK, tmp_path / "resumed")
    with monkeypatch.context() as patch:  # and after the next checkpoint
        kill_at(patch, 5)
        assert run(GO_BACK, tmp_path / "resumed") == 143
    assert run(GO_BACK, tmp_path / "resumed") == 0
    assert leaves(tmp_path / "resumed") == leaves(tmp_path / "run")
    assert untimed(tmp_path / "resumed") == untimed(tmp_path / "run")


@pytest.mark.slow
def test_going_back_to_one_place_has_an_end(poison, tmp_path, capsys):
    poison(*range(3, 20))
    assert run(GO_BACK, tmp_path) == 3
    captured = capsys.readouterr()
    assert captured.out.count("back to step 3") == 2
    assert "the last good checkpoint is" in captured.err and "/3" in captured.err
    assert np.array_equal([n["left_out"] for n in of_kind(tmp_path, "rollback")], [2, 2])
