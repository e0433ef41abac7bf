"""Whole runs of an objective that carries its states from step to step."""

import dataclasses
import signal

import jax
import numpy as np
import pytest

import train.averaging
import train.loop
from flaxformers_edu.errors import InputError
from flaxformers_edu.sharding import MeshShape
from tests.train.folders import leaves, records, untimed
from tests.train.test_loop import kill_at
from tests.train.tiny_streams import MODEL, config
from train.assemble import assemble
from train.bad_steps import BadSteps
from train.loop import run
from train.pipeline import Batching
from train.placement import place
from train.summary import Summary

needs_eight = pytest.mark.skipif(jax.device_count() != 8, reason="needs eight devices")
BEGINS = 4
"""The step from which on parameters are averaged, here."""


@pytest.fixture(autouse=True)
def averaged_from_the_second_evaluation(monkeypatch):
    """Decided by the log alone, as it is in earnest; and no pictures."""

    def is_due(experiment, workdir):
        path = workdir / "metrics.jsonl"
        return path.exists() and sum(r["kind"] == "eval" for r in records(workdir)) >= BEGINS // 2

    monkeypatch.setattr(train.averaging, "is_due", is_due)
    monkeypatch.setattr(train.loop, "write_summary", lambda *_: Summary([], []))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, labelled_examples):
    """State and records of a run that nothing happened to."""
    folder = tmp_path_factory.mktemp("streams")
    with pytest.MonkeyPatch.context() as patch:
        averaged_from_the_second_evaluation.__wrapped__(patch)
        assert run(config(), folder) == 0
    return leaves(folder), untimed(folder)


@pytest.mark.runs
@pytest.mark.parametrize("step", [BEGINS, pytest.param(5, marks=pytest.mark.slow)])
def test_stopped_and_resumed_is_as_if_never_stopped(undisturbed, tmp_path, monkeypatch, step):
    """Stopped where averaging is about to begin: the checkpoint there knows nothing of it."""
    with monkeypatch.context() as patch:
        kill_at(patch, step)
        assert run(config(), tmp_path) == 128 + signal.SIGTERM
    assert run(config(), tmp_path) == 0
    assert (leaves(tmp_path), untimed(tmp_path)) == undisturbed


def test_what_a_run_leaves(undisturbed):
    state, found = undisturbed
    assert int(np.frombuffer(state[".averaged"], np.int32)[0]) == config().steps - BEGINS
    hidden = np.frombuffer(state[".carried[0].hidden_BP"], np.float32)
    assert hidden.shape == (8 * MODEL.hidden_size,) and np.abs(hidden).min() > 0
    steps = [r for r in found if r["kind"] == "train"]
    # Each rate is the schedule's times the window's length over the usual one.
    lengths = [r["tokens"] / 8 for r in steps[:6]]
    assert [r["learning_rate"] for r in steps[:6]] == [pytest.approx(3 * n) for n in lengths]
    assert len(set(lengths)) > 2 and steps[-1]["epoch"] > 1
    assert {"perplexity", "ar_loss", "tar_loss"} <= steps[0].keys()


def trained(experiment, devices, steps):
    """Losses of the first steps, and the last state."""
    experiment = dataclasses.replace(experiment, nt_asgd=0)
    mesh = MeshShape().build(jax.devices()[:devices])
    assembled = assemble(experiment, mesh)
    step, state = assembled.step(experiment.accumulation), assembled.initial_state()
    rng, losses = np.random.default_rng(0), []
    for number in range(steps):
        ids = rng.integers(2, 280, (8, 13))
        windows = [{"input_ids": row, "length": 10, "begins": int(number == 0)} for row in ids]
        batch = experiment.objective.collate(experiment.model)(windows, 8, 12)
        with jax.set_mesh(mesh):
            state, metrics = step(state, place(batch, mesh))
        losses.append(float(metrics["loss"]))
    return losses, state


@pytest.fixture(scope="module")
def on_one_device(labelled_examples):
    return trained(config(), 1, 3)


@needs_eight
def test_eight_devices_have_the_losses_of_one(on_one_device):
    """With all its dropouts: random numbers do not depend on the mesh."""
    losses, state = trained(config(), 8, 3)
    np.testing.assert_allclose(losses, on_one_device[0], atol=5e-6)
    hidden = state.carried[0].hidden_BP
    assert len(hidden.sharding.device_set) == 8 and hidden.addressable_shards[0].data.shape[0] == 1
    np.testing.assert_allclose(hidden, on_one_device[1].carried[0].hidden_BP, atol=1e-5)


@pytest.mark.slow
def test_parts_of_a_batch_carry_their_rows(labelled_examples):
    still = {
        f"{rate}_dropout": 0.0 for rate in ("embedding", "input", "weight", "hidden", "output")
    }
    whole = config(model=dataclasses.replace(MODEL, **still))
    parts = dataclasses.replace(whole, accumulation=4)
    one, many = (trained(experiment, 1, 3) for experiment in (whole, parts))
    np.testing.assert_allclose(one[0], many[0], atol=1e-5)
    for mine, other in zip(
        jax.tree.leaves(one[1].carried), jax.tree.leaves(many[1].carried), strict=True
    ):
        np.testing.assert_allclose(mine, other, atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ema_decay": 0.5}, "nt_asgd is 1 and ema_decay 0.5: there is one average"),
        ({"accumulation": 3}, "accumulation is 3; it must divide the 8 streams"),
        ({"nt_asgd": -1}, "nt_asgd is -1; it must be 0 or more"),
        (
            {"batching": Batching(tokens_per_batch=96, max_source_length=12, packing=True)},
            "batching has packing, but text is read as streams",
        ),
        (
            {"batching": Batching(tokens_per_batch=8, max_source_length=12)},
            "tokens_per_batch=8 is not one window of max_source_length=12",
        ),
    ],
)
def test_bad_fields(fields, message):
    with pytest.raises(InputError, match=message):
        config(**fields)


def test_a_bad_step_is_one_that_was_not_made():
    """What is carried is part of the state that a skipped step leaves as it was."""
    state = assemble(config(bad_steps=BadSteps("skip")), MeshShape().build(jax.devices()[:1])).state
    assert state.carried is not None and state.guard is not None and state.averaged is not None
