"""Kill -9 at random moments and resume: the run ends as if nothing had happened, byte for byte."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.train.folders import leaves, untimed
from tests.train.tiny import CONFIG
from tests.xla import QUICK_TO_COMPILE

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = ["--steps", "40", "--eval-every", "15", "--eval-examples", "4"]


def start(workdir: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "train", "run", CONFIG, "--workdir", str(workdir), *OPTIONS]
    environment = {**os.environ, "XLA_FLAGS": QUICK_TO_COMPILE}  # one device
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=ROOT, env=environment, **pipes)


def finish(workdir: Path) -> None:
    process = start(workdir)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output


def lines(workdir: Path) -> int:
    path = workdir / "metrics.jsonl"
    return path.read_text(encoding="utf-8").count("\n") if path.exists() else 0


def is_saving(workdir: Path) -> bool:
    return any((workdir / "checkpoints").glob("*orbax-checkpoint-tmp*"))


def kill_within(workdir: Path, chance: random.Random, *, while_saving: bool) -> None:
    """Starts the run and kills it after a few more steps, or while a checkpoint is written."""
    process, begun = start(workdir), lines(workdir)
    more = chance.randint(1, 6)
    deadline = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < deadline:
        # The folder is cut back to its checkpoint first: only what is beyond counts.
        if is_saving(workdir) if while_saving else lines(workdir) >= begun + more:
            break
        time.sleep(0.001)
    if not while_saving:
        time.sleep(chance.uniform(0, 0.05))
    process.kill()
    output, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL, output


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("undisturbed") / "run"
    finish(workdir)
    return leaves(workdir), untimed(workdir)


@pytest.mark.slow  # the short test of test_chaos.py has kills among its faults
@pytest.mark.parametrize("kills", [2, 5])
def test_killed_and_resumed(undisturbed, tmp_path, kills):
    chance = random.Random(kills)
    for number in range(kills):
        kill_within(tmp_path / "run", chance, while_saving=number % 2 == 1)
    finish(tmp_path / "run")
    assert leaves(tmp_path / "run") == undisturbed[0]
    assert untimed(tmp_path / "run") == undisturbed[1]
    assert not is_saving(tmp_path / "run")
