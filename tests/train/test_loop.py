"""Whole runs in this process: stopped, resumed, poisoned, finished."""

import dataclasses
import math
import os
import shutil
import signal
from pathlib import Path

import jax
import pytest

import train.loop
from flaxformers_edu.errors import InputError
from flaxformers_edu.sharding import MeshShape
from tests.train.folders import TIMING, leaves, records, untimed
from tests.train.tiny import STEPS, config
from train.loop import Training, run
from train.prepare import write_config
from train.sources import ParallelFiles, ToyKorean
from train.summary import Summary


@pytest.fixture(scope="module")
def undisturbed(trained):
    """The state's bytes and the records of the run that nothing happened to."""
    return leaves(trained), untimed(trained)


@pytest.fixture(autouse=True)
def no_pictures(trained, monkeypatch):
    """The shared run has drawn them: here they would only take time."""
    monkeypatch.setattr(train.loop, "write_summary", lambda *_: Summary([], []))


def kill_at(monkeypatch, step: int, number: int = signal.SIGTERM) -> None:
    """A signal comes while the log of a step is written."""
    log = train.loop.RunLog.train

    def logged(self, at, values):
        log(self, at, values)
        if at == step:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(train.loop.RunLog, "train", logged)


def steps_of(workdir: Path) -> list[int]:
    return sorted(int(path.name) for path in (workdir / "checkpoints").iterdir())


def test_a_finished_run(trained):
    found = records(trained)
    assert found[-1]["final"] is True and found[-1]["step"] == STEPS
    assert {"test/loss", "test/bleu_greedy", "test/bleu_beam2", "best_step"} <= found[-1].keys()
    assert [r["step"] for r in found if r["kind"] == "train"] == [1, 2, 3, 4, 5, 6]
    assert [r["step"] for r in found if r["kind"] == "eval"] == [3, 6]
    assert sum("final" in r for r in found) == 1
    train_keys = {"loss", "grad_norm", "learning_rate", "tokens", "padding", "epoch", *TIMING}
    assert train_keys <= found[0].keys()
    for name in ("learning_curves", "schedule", "attention_1", "bleu_by_length"):
        png = (trained / "report" / f"{name}.png").read_bytes()
        assert png.startswith(b"\x89PNG") and len(png) > 1000
    assert list((trained / "tensorboard").glob("events.*"))
    assert set(steps_of(trained)) >= {4, 6}


@pytest.mark.parametrize(
    ("step", "number", "status"),
    [(3, signal.SIGTERM, 143), pytest.param(5, signal.SIGINT, 130, marks=pytest.mark.slow)],
)
def test_stopped_and_resumed_is_as_if_never_stopped(
    undisturbed, tmp_path, monkeypatch, capsys, step, number, status
):
    with monkeypatch.context() as patch:
        kill_at(patch, step, number)
        assert run(config(), tmp_path) == status
    assert f"{signal.Signals(number).name} after saving step {step}" in capsys.readouterr().out
    assert max(steps_of(tmp_path)) == step
    assert run(config(), tmp_path) == 0
    assert f"resumed from step {step} of {STEPS}" in capsys.readouterr().out
    assert (leaves(tmp_path), untimed(tmp_path)) == undisturbed


@pytest.mark.runs
def test_stopped_within_an_evaluation(undisturbed, tmp_path, monkeypatch):
    """The checkpoint is there already; what is left of the evaluation is done on resuming."""
    predict = train.loop.Evaluator.predict

    def interrupted(self, *arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        return predict(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(train.loop.Evaluator, "predict", interrupted)
        assert run(config(), tmp_path) == 143
    assert max(steps_of(tmp_path)) == 3
    assert not [r for r in records(tmp_path) if r["kind"] == "eval"]
    assert run(config(), tmp_path) == 0
    assert (leaves(tmp_path), untimed(tmp_path)) == undisturbed


def test_finished_is_finished(trained, capsys, monkeypatch):
    def contents():
        files = sorted(p for p in trained.rglob("*") if p.is_file())
        return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}

    before = contents()
    monkeypatch.setattr(train.loop, "Training", None)  # nothing is even prepared
    assert run(config(), trained) == 0
    assert f"holds this run, finished at step {STEPS}" in capsys.readouterr().out
    assert contents() == before


def test_more_steps_go_on(trained, tmp_path):
    workdir = Path(shutil.copytree(trained, tmp_path / "run"))
    assert run(config(steps=8), workdir) == 0
    found = records(workdir)
    assert [r["step"] for r in found if r["kind"] == "train"] == list(range(1, 9))
    assert found[-1]["final"] and found[-1]["step"] == 8
    assert sum("final" in r for r in found) == 1


def test_another_experiment_does_not_resume(trained):
    changed = dataclasses.replace(config(), source=ToyKorean(size=199, held_out_size=16))
    with pytest.raises(InputError, match=r"source\.size=200, and now it is 199"):
        run(changed, trained)


@pytest.mark.runs
def test_a_rate_that_explodes_stops_with_3(tmp_path, capsys):
    schedule = dataclasses.replace(config().schedule, peak=1e30)
    assert run(config(schedule=schedule), tmp_path) == 3
    captured = capsys.readouterr()
    [line] = captured.err.splitlines()
    assert line.startswith("error: ") and "param_norm is inf at step 1" in line
    assert "last good checkpoint is none" in line
    assert steps_of(tmp_path) == []


@pytest.mark.parametrize("what", ["params", pytest.param("grad_norm", marks=pytest.mark.slow)])
def test_a_poisoned_state_is_never_saved(undisturbed, tmp_path, monkeypatch, capsys, what):
    """From step 4 on, which is due to be saved, something is NaN; the loss is not."""
    call = train.loop.CompiledStep.__call__

    def poison(self, state, batch):
        if int(getattr(state, "step", 0)) != 3:  # the evaluation is given parameters only
            return call(self, state, batch)
        state, metrics = call(self, state, batch)
        name = "param_norm" if what == "params" else what
        bad = jax.tree.map(lambda x: x * math.nan, state.params)
        return state.replace(params=bad), {**metrics, name: math.nan}

    with monkeypatch.context() as patch:
        patch.setattr(train.loop.CompiledStep, "__call__", poison)
        assert run(config(), tmp_path) == 3
    [line] = capsys.readouterr().err.splitlines()
    assert "nan at step 4" in line and str(tmp_path / "checkpoints" / "3") in line
    assert max(steps_of(tmp_path)) == 3
    assert run(config(), tmp_path) == 0  # the good checkpoint is as good as ever
    assert (leaves(tmp_path), untimed(tmp_path)) == undisturbed


@pytest.mark.runs
def test_a_batch_that_grows(tmp_path):
    """Two steps of 8 rows, two of 16, then 32, in parts of 16 at most."""
    batching = dataclasses.replace(
        config().batching, tokens_per_batch=2048, ramp_start_tokens=512, ramp_steps=4
    )
    growing = config(batching=batching, accumulation=2, noise_scale=True, eval_examples=0)
    assert run(growing, tmp_path) == 0
    found = [record for record in records(tmp_path) if record["kind"] == "train"]
    # 200 examples: 25 units of 8 rows an epoch.
    assert [r["epoch"] * 25 for r in found] == pytest.approx([1, 2, 4, 6, 10, 14])
    tokens = [r["tokens"] for r in found]
    assert 1.3 < sum(tokens[2:4]) / sum(tokens[:2]) < 3
    assert 1.3 < sum(tokens[4:]) / sum(tokens[2:4]) < 3
    assert [r["noise_trace"] is not None for r in found] == [False] * 4 + [True] * 2


def files(folder: Path, train: int = 40, val: int = 16) -> None:
    source = ToyKorean(size=train, held_out_size=val)
    for name, split in (("train", "train"), ("val", "validation")):
        pairs = source.load(split)
        for side, language in (("source", "en"), ("target", "ko")):
            text = "".join(pairs[i][side] + "\n" for i in range(len(pairs)))
            (folder / f"{name}.{language}").write_text(text, encoding="utf-8")


def from_files(folder: Path, **changes):
    source = ParallelFiles(folder=str(folder), source="en", target="ko", **changes)
    return config(source=source, steps=2, eval_every=2)


def fitting(experiment, vocab_size: int):
    return dataclasses.replace(
        experiment, model=dataclasses.replace(experiment.model, vocab_size=vocab_size)
    )


@pytest.mark.runs
def test_a_source_without_a_test_split_finishes(tmp_path, capsys):
    files(tmp_path, train=200)
    workdir = tmp_path / "run"
    experiment = dataclasses.replace(from_files(tmp_path, test=""), profile="1:2")
    assert run(experiment, workdir) == 0
    final = records(workdir)[-1]
    assert final["final"] is True
    assert "validation/bleu_beam2" in final and "test/bleu_beam2" not in final
    assert list((workdir / "profile").rglob("*.xplane.pb"))
    said = capsys.readouterr().out
    for words in ("MFU is of 8 x cpu at ", "the step was compiled in ", "trace of steps 1:2: "):
        assert said.count(words) == 1, words


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_source_without_the_splits_that_are_needed(tmp_path, split):
    files(tmp_path)
    with pytest.raises(InputError, match=f"there is no {split} data: set {split}"):
        run(from_files(tmp_path, test="", **{split: ""}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def overlong(folder):
    (folder / "val.en").write_text("a " * 500 + "\n" + "x\n" * 15)


def empty(folder):
    (folder / "train.ko").write_text("")


def unpaired(folder):
    with (folder / "train.ko").open("a") as file:
        file.write("one more\n")


def not_utf8(folder):
    (folder / "train.ko").write_bytes(b"\xff\xfe broken\n")


def missing(folder):
    (folder / "val.ko").unlink()


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (overlong, r"example 0: \d+ tokens.*max_source_length=64"),
        (empty, r"train\.ko is empty"),
        (unpaired, "200 lines but .* has 201"),
        (not_utf8, r"train\.ko is not valid UTF-8: line 1"),
        (missing, r"val\.ko does not exist"),
    ],
)
def test_bad_files_are_refused_and_nothing_is_written(tmp_path, harm, words):
    files(tmp_path, train=200)
    harm(tmp_path)
    with pytest.raises(InputError, match=words) as caught:
        run(from_files(tmp_path, test=""), tmp_path / "run" / "deep")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_vocabulary_that_the_corpus_does_not_allow(tmp_path):
    with pytest.raises(InputError, match="vocab_size=50000 is larger than the corpus allows"):
        run(fitting(config(), 50_000), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_keeps_its_batches_on_another_mesh(tmp_path):
    """1,000 tokens are 15 rows of 64, but 14 where they go over two devices."""
    batching = dataclasses.replace(config().batching, tokens_per_batch=1000)

    def training(mesh, folder="run"):
        return Training(config(mesh=mesh, batching=batching), tmp_path / folder)

    begun = training(MeshShape(data=2, sequence=4))
    write_config(begun.folder)
    assert training(MeshShape(data=1, sequence=8)).data.shapes == begun.data.shapes == ((14, 64),)
    assert training(MeshShape(data=1, sequence=8), "new").data.shapes == ((15, 64),)
    with pytest.raises(InputError, match="batches of 14 rows .* where that divides 14"):
        training(MeshShape(data=8))


def test_a_mesh_that_the_devices_do_not_make(tmp_path):
    mesh = dataclasses.replace(config().mesh, data=3)
    with pytest.raises(InputError, match="data 3 .* does not multiply to 8 devices"):
        run(config(mesh=mesh), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_damaged_newest_checkpoint(trained, tmp_path, undisturbed):
    workdir = Path(shutil.copytree(trained, tmp_path / "run"))
    (workdir / "metrics.jsonl").write_text("")  # as if it had not finished
    newest = workdir / "checkpoints" / str(STEPS)
    (newest / "_METADATA").write_text("{")
    with pytest.raises(InputError, match=r"is damaged .*--resume previous.* from step 4"):
        run(config(), workdir)
    shutil.rmtree(newest)
    assert run(config(), workdir) == 0
    assert leaves(workdir) == undisturbed[0]
