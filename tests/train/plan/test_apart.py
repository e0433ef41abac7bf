"""Programs compiled in a process of their own."""

import stat
import sys

import pytest

from flaxformers_edu.sharding import MeshShape
from tests.train.plan.models import gpt
from tests.train.plan.test_topology import needs_libtpu
from train.plan.apart import compile_apart
from train.plan.program import compile_step, prepare_step
from train.plan.topology import compile_only_devices, parse_topology

pytestmark = needs_libtpu
TOPOLOGY = parse_topology("v5e:2x2")


@pytest.fixture(scope="module")
def step():
    experiment = gpt(MeshShape(data=4), num_layers=1)
    return prepare_step(experiment, compile_only_devices(TOPOLOGY))


def test_it_is_the_program_that_this_process_would_have_compiled(step):
    apart, here = compile_apart(step, TOPOLOGY), compile_step(step)
    assert apart is not None and apart.memory == here.memory
    assert apart.needed == here.needed > 0
    assert apart.hlo.count("fusion") == here.hlo.count("fusion") > 0


def python_that(does: str, tmp_path, monkeypatch) -> None:
    script = tmp_path / "python"
    script.write_text(f"#!/bin/sh\n{does}\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "executable", str(script))


def test_a_compiler_that_crashes_is_survived(step, tmp_path, monkeypatch):
    python_that("kill -SEGV $$", tmp_path, monkeypatch)
    assert compile_apart(step, TOPOLOGY) is None


def test_an_error_of_our_own_is_not_taken_for_a_crash(step, tmp_path, monkeypatch):
    python_that("echo a broken import >&2; exit 1", tmp_path, monkeypatch)
    with pytest.raises(RuntimeError, match="a broken import"):
        compile_apart(step, TOPOLOGY)
