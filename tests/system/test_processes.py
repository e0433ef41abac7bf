"""Runs of several processes on loopback: what one process computes, and what happens in faults."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.system import chaos_config
from tests.system.fleet import ROOT, Fleet
from tests.train import tiny
from tests.xla import QUICK_TO_COMPILE
from train.log import read_records

STEPS = 6


def records(workdir, kind):
    return [r for r in read_records(workdir / "metrics.jsonl") if r["kind"] == kind]


def losses(workdir):
    return [r["loss"] for r in records(workdir, "train")]


def ended(fleet, *statuses):
    assert fleet.wait() == list(statuses), fleet.output()
    return fleet.output()


# --- The same numbers --------------------------------------------------------------------------


@pytest.mark.runs
def test_two_processes_find_what_one_finds(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    ended(Fleet(tiny.CONFIG, one, processes=1, devices=4), 0)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [ROOT / "launch" / "laptop.sh", tiny.CONFIG, two],
        cwd=ROOT,
        env={**os.environ, "PATH": path, "XLA_FLAGS": QUICK_TO_COMPILE},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert "4 cpu device(s) (data 4) of 2 processes" in done.stdout
    assert done.stdout.count("resumed from") + done.stdout.count("steps from seed") == 1
    assert losses(two) == losses(one) and len(losses(two)) == tiny.STEPS
    for kind in ("eval", "test"):  # greedy and beam search with half of the rows in each process
        ours, theirs = records(two, kind), records(one, kind)
        assert len(ours) == len(theirs) > 0
        for mine, other in zip(ours, theirs, strict=True):
            assert mine.keys() == other.keys(), kind
            for key, value in mine.items():
                expected = other[key]
                if isinstance(expected, float):
                    expected = pytest.approx(expected, rel=1e-6)
                assert value == expected, (kind, key)
    assert sorted(p.name for p in (two / "report").iterdir()) == sorted(
        p.name for p in (one / "report").iterdir()
    )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("undisturbed") / "run"
    ended(Fleet(chaos_config.__file__, workdir, "--steps", "6", processes=1, devices=1), 0)
    return losses(workdir)


MESHES = (
    (2, 1, 8, ["--mesh.data", "8"]),
    (4, 1, 8, ["--mesh.data", "2", "--mesh.fsdp", "2", "--mesh.tensor", "2"]),
    (6, 1, 1, []),
)
PROCESSES = ((2, 4, 1, []), (4, 2, 2, ["--mesh.data", "2", "--mesh.tensor", "2"]), (6, 1, 1, []))


@pytest.mark.parametrize(
    "stations",
    [
        pytest.param(MESHES, id="8 devices, 2x2x2, 1", marks=pytest.mark.slow),
        pytest.param(PROCESSES, id="4 processes, 2, 1", marks=pytest.mark.slow),
    ],
)
def test_a_run_goes_on_elsewhere(undisturbed, tmp_path, stations):
    for steps, processes, devices, options in stations:
        fleet = Fleet(
            chaos_config.__file__, tmp_path / "run", "--steps", str(steps), *options,
            processes=processes, devices=devices,
        )  # fmt: skip
        ended(fleet, *[0] * processes)
    assert losses(tmp_path / "run") == pytest.approx(undisturbed, rel=1e-5)


# A hundredth above the running mean: enough that of twelve steps some count as spikes.
SPIKES = ("--steps", "12", "--bad-steps.spike-factor", "1.01", "--bad-steps.window", "2")
BACK = ("--bad-steps.policy", "rollback", "--bad-steps.leave-out", "1", "--checkpoint-every", "3")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "options"),
    [("bad_step", ("--bad-steps.policy", "skip")), ("rollback", BACK)],
)
def test_processes_judge_a_bad_step_alike(tmp_path, kind, options):
    one, two = tmp_path / "one", tmp_path / "two"
    for workdir, processes, devices in ((one, 1, 4), (two, 2, 2)):
        fleet = Fleet(tiny.CONFIG, workdir, *SPIKES, *options, processes=processes, devices=devices)
        ended(fleet, *[0] * processes)
    assert records(one, kind)
    assert [r["step"] for r in records(two, kind)] == [r["step"] for r in records(one, kind)]
    assert losses(two) == pytest.approx(losses(one), rel=1e-6) and len(losses(one)) == 12


# --- Bad input ---------------------------------------------------------------------------------


def test_processes_that_disagree_say_where(tmp_path):
    fleet = Fleet(
        tiny.CONFIG, tmp_path / "run", processes=2, devices=1,
        own_options=((), ("--batching.tokens-per-batch", "512")),
    )  # fmt: skip
    output = ended(fleet, 2, 2)
    said = r"error: the processes disagree: experiment.batching.tokens_per_batch is 1024 in process"
    assert len(re.findall(rf"{said} 0 \(\S+\) and 512 in process 1 \(\S+\);", output)) == 2
    assert not (tmp_path / "run").exists()


@pytest.mark.runs
def test_a_folder_that_not_all_see(tmp_path):
    fleet = Fleet(
        tiny.CONFIG, tmp_path / "run", processes=2, devices=1,
        own_options=((), ("--workdir", str(tmp_path / "another"))),
    )  # fmt: skip
    output = ended(fleet, 2, 2)
    said = r"error: process 1 \(\S+\) does not see what process 0 \(\S+\) writes"
    assert len(re.findall(said, output)) == 2
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("missing", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_a_process_that_never_comes(tmp_path, missing):
    begun = time.monotonic()
    fleet = Fleet(tiny.CONFIG, tmp_path / "run", processes=2, devices=1, start_timeout=4)
    fleet.send(signal.SIGKILL, missing)
    fleet.wait()
    assert fleet.processes[1 - missing].returncode == 2
    (line,) = fleet.logs[1 - missing].read_text().splitlines()
    assert line.startswith("error: the processes of the run did not all meet at 127.0.0.1:")
    assert time.monotonic() - begun < 60


# --- Faults ------------------------------------------------------------------------------------


def trains(fleet, workdir):
    """Waits until a few steps are logged."""
    while fleet.running() and len(losses(workdir)) < 3:
        time.sleep(0.1)
    assert fleet.running(), fleet.output()


@pytest.mark.runs
@pytest.mark.parametrize(
    ("victim", "said"),
    [
        pytest.param(
            0,
            r"error: process 0 \(127.0.0.1:\d+\), which coordinates the run, died",
            marks=pytest.mark.slow,
        ),
        (1, r"error: process 1 \(\S+\) died or hangs \(silent for 6 s\); stopping"),
    ],
)
def test_a_dead_process_is_named_and_the_others_stop(tmp_path, victim, said):
    fleet = Fleet(
        chaos_config.__file__, tmp_path / "run", processes=2, devices=1, dead_after=6
    )  # fmt: skip
    trains(fleet, tmp_path / "run")
    begun = time.monotonic()
    fleet.send(signal.SIGKILL, victim)
    fleet.wait()
    assert time.monotonic() - begun < 60
    survivor = 1 - victim
    assert fleet.processes[survivor].returncode == 4, fleet.output()
    text = fleet.logs[survivor].read_text()
    assert re.search(said, text) and "Traceback" not in text and "Check failure" not in text


@pytest.mark.slow  # the short test of test_chaos.py sends one, while saving
def test_a_signal_to_one_stops_all_at_one_step(tmp_path):
    fleet = Fleet(chaos_config.__file__, tmp_path / "run", processes=2, devices=1)
    trains(fleet, tmp_path / "run")
    fleet.send(signal.SIGTERM, 1)
    output = ended(fleet, 143, 143)
    (step,) = re.findall(r"stopped by SIGTERM after saving step (\d+)", output)
    assert (tmp_path / "run" / "checkpoints" / step / "manifest.json").exists()
