import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

import train.checkpoint
from flaxformers_edu.errors import InputError
from train.checkpoint import Checkpoints
from train.manifest import MANIFEST, METADATA
from train.state import TrainState

SHARDING = jax.sharding.SingleDeviceSharding(jax.devices()[0])


def state_at(step: int, width: int = 300) -> TrainState:
    rng = np.random.default_rng(step)
    params = {"layer": {"kernel": rng.normal(size=(width, 100)), "bias": rng.normal(size=(100,))}}
    params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), params)
    return jax.device_put(TrainState(jnp.int32(step), params, (params, jnp.int32(step)), None))


def abstract_of(state: TrainState) -> TrainState:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=SHARDING), state)


def opened(workdir: Path, **settings) -> Checkpoints:
    return Checkpoints(workdir, metric="bleu", higher_is_better=True, **settings)


def restored(workdir: Path, step: int) -> TrainState:
    with opened(workdir, read_only=True) as checkpoints:
        return checkpoints.restore(step, abstract_of(state_at(step)))


def assert_equal(ours: TrainState, theirs: TrainState) -> None:
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for mine, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert np.asarray(mine).tobytes() == np.asarray(other).tobytes()


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("two")
    with opened(workdir) as checkpoints:
        checkpoints.save(state_at(1))
        checkpoints.save(state_at(2))
    return workdir


@pytest.fixture
def copied(two, tmp_path):
    import shutil

    return Path(shutil.copytree(two, tmp_path / "copy"))


def test_what_was_saved_comes_back(two):
    assert_equal(restored(two, 1), state_at(1))
    assert_equal(restored(two, 2), state_at(2))


@struct.dataclass
class Older:
    """A state as an earlier version knew it."""

    step: Any
    params: Any
    opt_state: Any


def test_parts_that_an_earlier_version_did_not_know_are_none(tmp_path):
    now = state_at(1)
    with opened(tmp_path) as checkpoints:
        checkpoints.save(Older(now.step, now.params, now.opt_state))
    assert_equal(restored(tmp_path, 1), now)
    with opened(tmp_path, read_only=True) as checkpoints:
        averaging = abstract_of(dataclasses.replace(now, ema=now.params))
        with pytest.raises(InputError, match="was written without the state's ema"):
            checkpoints.restore(1, averaging)


def test_saving_does_not_wait(tmp_path):
    with opened(tmp_path) as checkpoints:
        checkpoints.save(state_at(1))
        assert checkpoints._checkpointer._async_manager._thread is not None
        checkpoints.wait()
        assert checkpoints.steps() == [1]
        before = (tmp_path / "checkpoints/1" / MANIFEST).stat().st_mtime_ns
        checkpoints.save(state_at(1))  # there already: left alone
        checkpoints.wait()
        assert (tmp_path / "checkpoints/1" / MANIFEST).stat().st_mtime_ns == before


def test_the_newest_and_the_best_are_kept(tmp_path):
    scores = {1: 10.0, 2: 30.0, 3: 20.0, 4: 5.0, 5: float("nan")}
    with opened(tmp_path, keep_last=2) as checkpoints:
        for step, bleu in scores.items():
            checkpoints.save(state_at(step, 2))
            checkpoints.rate(step, {"bleu": bleu})
        checkpoints.save(state_at(6, 2))
        checkpoints.wait()
        assert checkpoints.steps() == [2, 5, 6]
        assert checkpoints.choose("best") == 2
        assert checkpoints.choose("last") == 6
        assert checkpoints.choose("5") == 5
        with pytest.raises(
            InputError, match=r"'4' is not there; choose last, best, or one of 2, 5"
        ):
            checkpoints.choose("4")
    with opened(tmp_path, read_only=True) as checkpoints:  # ratings outlive the process
        assert checkpoints.choose("best") == 2
        assert checkpoints.metrics(2) == {"bleu": 30.0}
        assert checkpoints.metrics(6) == {}


def test_lower_is_better_where_the_metric_says_so(tmp_path):
    with Checkpoints(tmp_path, metric="loss", higher_is_better=False) as checkpoints:
        for step, loss in ((1, 2.0), (2, 3.0)):
            checkpoints.save(state_at(step, 2))
            checkpoints.rate(step, {"loss": loss})
        assert checkpoints.choose("best") == 1


def test_without_a_checkpoint_there_is_nothing_to_choose(tmp_path):
    with opened(tmp_path) as checkpoints, pytest.raises(InputError, match="no finished checkpoint"):
        checkpoints.choose("last")


def largest(folder: Path) -> Path:
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 16
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("harm", [truncate, flip_a_bit, Path.unlink])
@pytest.mark.parametrize("which", ["largest", "_METADATA", "manifest.ocdbt", MANIFEST, METADATA])
def test_damage_is_one_clear_line_and_the_one_before_loads(copied, which, harm):
    folder = copied / "checkpoints" / "2"
    path = largest(folder) if which == "largest" else folder / which
    harm(path)
    if which == METADATA and harm is flip_a_bit:
        return  # no array depends on its text; only that it is all there is checked
    remedy = "is damaged.*--resume previous.*goes on from step 1"
    with pytest.raises(InputError, match=remedy) as caught:
        restored(copied, 2)
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)
    assert_equal(restored(copied, 1), state_at(1))


def test_a_damaged_checkpoint_is_never_removed_by_us(copied):
    truncate(copied / "checkpoints" / "1" / MANIFEST)
    with opened(copied, keep_last=1) as checkpoints:
        checkpoints.save(state_at(3))
        checkpoints.wait()
        assert checkpoints.steps() == [1, 3]


def test_a_damaged_newest_one_is_set_aside_on_request(copied):
    folder = copied / "checkpoints"
    truncate(largest(folder / "2"))
    with opened(copied) as checkpoints:
        assert checkpoints.set_aside_damaged() == 2
        assert checkpoints.steps() == [1]
        assert checkpoints.set_aside_damaged() is None  # that one is whole
        checkpoints.save(state_at(2))
        checkpoints.wait()
        truncate(largest(folder / "2"))
        assert checkpoints.set_aside_damaged() == 2
        truncate(largest(folder / "1"))
        with pytest.raises(InputError, match="there is none before it: delete it"):
            checkpoints.set_aside_damaged()
    assert checkpoints.steps() == [1]
    assert len(list(folder.glob("2.damaged*"))) == 2


def test_every_nth_is_kept_for_ever(tmp_path):
    with opened(tmp_path, keep_last=1, keep_every=3) as checkpoints:
        for step in range(1, 9):
            checkpoints.save(state_at(step, 2))
            checkpoints.rate(step, {"bleu": -step})
        checkpoints.wait()
        assert checkpoints.steps() == [1, 3, 6, 8]  # the best, two multiples of 3, the newest


def test_another_architecture_names_the_first_parameter(two):
    with (
        opened(two, read_only=True) as checkpoints,
        pytest.raises(InputError, match=r"layer/kernel is \[300, 100\] there and \[200, 100\]"),
    ):
        checkpoints.restore(2, abstract_of(state_at(2, 200)))


def test_what_a_killed_process_left_is_removed(copied):
    folder = copied / "checkpoints"
    for name in ("3.orbax-checkpoint-tmp", "1.deleted"):
        (folder / name).mkdir()
        (folder / name / "file").write_text("half")
    with opened(copied) as checkpoints:
        assert checkpoints.steps() == [1, 2]
    assert sorted(p.name for p in folder.iterdir()) == ["1", "2"]


def test_reading_changes_nothing(copied):
    folder = copied / "checkpoints" / "3.orbax-checkpoint-tmp"
    folder.mkdir()
    with opened(copied, read_only=True) as checkpoints:
        assert checkpoints.steps() == [1, 2]
    assert folder.is_dir()


def test_a_full_disk_is_found_before_writing(copied, monkeypatch):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(train.checkpoint.shutil, "disk_usage", lambda _: usage)
    full = pytest.raises(OSError, match="checkpoints: the disk is full")
    with opened(copied) as checkpoints, full:
        checkpoints.save(state_at(3))
    assert sorted(p.name for p in (copied / "checkpoints").iterdir()) == ["1", "2"]
    assert_equal(restored(copied, 2), state_at(2))


def test_an_error_of_the_writing_thread_surfaces(copied, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(train.checkpoint, "write_manifest", fail)
    with opened(copied) as checkpoints:
        checkpoints.save(state_at(3))
        with pytest.raises(OSError, match=r"cannot write a checkpoint into .*No space left"):
            checkpoints.wait()
    assert sorted(p.name for p in (copied / "checkpoints").iterdir()) == ["1", "2"]
    assert_equal(restored(copied, 2), state_at(2))


def test_an_error_surfaces_even_if_nobody_waits(copied, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(train.checkpoint, "write_manifest", fail)
    with pytest.raises(OSError, match="No space left"), opened(copied) as checkpoints:
        checkpoints.save(state_at(3))


def test_manifest_is_complete(two):
    folder = two / "checkpoints" / "2"
    manifest = json.loads((folder / MANIFEST).read_text())
    assert manifest["step"] == 2
    assert manifest["params"] == {"layer/bias": [100], "layer/kernel": [300, 100]}
    assert largest(folder).relative_to(folder).as_posix() in manifest["files"]
