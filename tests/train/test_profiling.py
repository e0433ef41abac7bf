import contextlib
import dataclasses
import re

import jax
import jax.numpy as jnp
import pytest

from flaxformers_edu.errors import InputError
from tests.train.tiny import config
from train.profiling import Profiler, parse_steps


def test_first_and_last():
    assert parse_steps("10:13") == (10, 13)
    assert parse_steps("") is None


@pytest.mark.parametrize("text", ["10", "13:10", "0:3", "a:b", "1:2:3", "-1:2", ":"])
def test_what_is_no_range_of_steps(text):
    with pytest.raises(InputError, match=f"profile is '{text}'; it must be FIRST:LAST"):
        dataclasses.replace(config(), profile=text)


class Idle:
    """Counts how often the devices were waited for."""

    def __init__(self):
        self.times = 0

    @contextlib.contextmanager
    def __call__(self):
        self.times += 1
        yield


def test_the_steps_are_traced(tmp_path):
    idle, ended = Idle(), []
    with Profiler("2:3", tmp_path) as profiler:
        for step in range(1, 6):
            profiler.before(step, idle)
            jax.jit(jnp.sin)(jnp.ones(8)).block_until_ready()
            ended.append(profiler.after(step, idle))
    assert ended == [False, False, True, False, False]
    assert idle.times == 2
    names = [re.sub(r"^[^.]*\.", "", path.name) for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(names) == ["trace.json.gz", "xplane.pb"]


def test_leaving_ends_a_trace(tmp_path):
    """A run that is stopped within has its trace; and another one can begin."""
    for run in ("one", "two"):
        with contextlib.suppress(KeyError), Profiler("1:100", tmp_path / run) as profiler:
            profiler.before(1, Idle())
            raise KeyError
        assert list((tmp_path / run).rglob("*.xplane.pb"))


def test_nothing_is_traced_without_steps(tmp_path):
    idle = Idle()
    with Profiler("", tmp_path / "profile") as profiler:
        profiler.before(1, idle)
        assert not profiler.after(1, idle)
    assert idle.times == 0 and not (tmp_path / "profile").exists()
