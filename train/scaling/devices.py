"""Weak and strong scaling: the time of a training step on growing numbers of devices.

    python -m train sweep CONFIG --devices 1 2 4 8

Each number is measured in a process of its own, with so many devices of a CPU made up by XLA, or
with the first so many of the accelerators that are there. Strong: the same batch is shared by all.
Weak: each device gets as much as the one device had.
"""

import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flaxformers_edu.errors import InputError
from train.experiment import Experiment
from train.report.style import BLUE, GREY, VERMILLION, new_figure, save, style
from train.saved import from_json, to_json
from train.scaling.batches import random_batch
from train.scaling.table import table

TIMED_STEPS, UNTIMED_STEPS = 10, 2
KINDS = ("strong", "weak")


@dataclasses.dataclass(frozen=True)
class Timing:
    """Steps on some devices."""

    kind: str
    """strong or weak."""
    num_devices: int
    tokens: int
    """Of a step, over all devices."""
    seconds: float
    """Of a step: the median."""

    @property
    def tokens_per_second(self) -> float:
        """Over all devices."""
        return self.tokens / self.seconds


def efficiency(timing: Timing, alone: Timing) -> float:
    """Tokens a second of each device, as a part of what one device alone does."""
    per_device = timing.tokens_per_second / timing.num_devices
    return per_device * alone.num_devices / alone.tokens_per_second


def measure_devices(experiment: Experiment, counts: Sequence[int]) -> list[Timing]:
    """The timings of both kinds, each number of devices in its own process.

    Raises:
        InputError: a number below 1, or a process that failed, with its last line.
    """
    if min(counts) < 1:
        raise InputError(f"--devices is {tuple(counts)}; each must be at least 1")
    timings = []
    for kind in KINDS:
        for count in sorted(set(counts)):
            batching = experiment.batching
            tokens = batching.tokens_per_batch * (count if kind == "weak" else 1)
            batching = dataclasses.replace(batching, tokens_per_batch=tokens)
            given = to_json(dataclasses.replace(experiment, batching=batching))
            seconds = _in_own_process(given, count)
            timings.append(Timing(kind, count, tokens, seconds))
            print(f"{kind}, {count} device(s): {seconds:.3f} s a step", flush=True)
    return timings


def _in_own_process(experiment: Any, count: int) -> float:
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={count}"
    done = subprocess.run(
        [sys.executable, "-m", "train.scaling.devices", str(count)],
        input=json.dumps(experiment),
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, "XLA_FLAGS": flags.strip()},
    )
    if done.returncode:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        raise InputError(f"--devices {count} failed: {last}")
    return float(done.stdout.strip().splitlines()[-1])


def seconds_per_step(experiment: Experiment, count: int) -> float:
    """The median time of a step on the first `count` devices of this process, on random tokens.

    Raises:
        InputError: there are fewer devices, or the batch does not divide among them.
    """
    import jax

    from train.placement import place
    from train.plan.program import prepare_step

    devices = jax.devices()
    if len(devices) < count:
        raise InputError(f"there are {len(devices)} devices, not {count}")
    step = prepare_step(experiment, devices[:count])
    state = step.training.initial_state()
    arrays = random_batch(experiment, step.rows, step.length, experiment.seed)
    train_step, times = step.function(), []
    with jax.set_mesh(step.mesh):
        batch = place(arrays, step.mesh)
        for _ in range(UNTIMED_STEPS + TIMED_STEPS):
            start = time.perf_counter()
            state, metrics = train_step(state, batch)
            jax.block_until_ready((state, metrics))
            times.append(time.perf_counter() - start)
    return float(np.median(times[UNTIMED_STEPS:]))


def devices_table(timings: Sequence[Timing]) -> str:
    """One line a timing, with its efficiency."""
    header = ("scaling", "devices", "tokens a step", "ms a step", "tokens/s", "efficiency")
    rows = []
    for timing in timings:
        alone = first_of(timings, timing.kind)
        numbers = (f"{timing.num_devices}", f"{timing.tokens:,}", f"{1e3 * timing.seconds:.1f}")
        speed = (f"{timing.tokens_per_second:,.0f}", f"{efficiency(timing, alone):.0%}")
        rows.append((timing.kind, *numbers, *speed))
    return table(header, rows)


def first_of(timings: Sequence[Timing], kind: str) -> Timing:
    """The timing on the fewest devices, which the others are held against."""
    return min((t for t in timings if t.kind == kind), key=lambda t: t.num_devices)


def draw_devices(path: Path, timings: Sequence[Timing]) -> Path:
    """Efficiency by number of devices."""
    with style():
        figure = new_figure(5.2, 3.6)
        axes: Any = figure.subplots()
        for kind, color in zip(KINDS, (BLUE, VERMILLION), strict=True):
            chosen = [t for t in timings if t.kind == kind]
            alone = first_of(timings, kind)
            counts = [t.num_devices for t in chosen]
            parts = [100 * efficiency(t, alone) for t in chosen]
            axes.plot(counts, parts, "o-", color=color, markersize=4, label=kind)
        axes.axhline(100, color=GREY, linewidth=0.8)
        axes.set_xscale("log", base=2)
        axes.set_ylim(bottom=0)
        axes.set(title="Efficiency by devices", xlabel="devices", ylabel="%")
        axes.legend()
        return save(figure, path)


if __name__ == "__main__":
    try:
        print(seconds_per_step(from_json(json.load(sys.stdin)), int(sys.argv[1])))
    except InputError as error:
        sys.exit(f"error: {error}")
