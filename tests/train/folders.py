"""Reading the folders of runs, for comparing them."""

import functools
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from flaxformers_edu.sharding import MeshShape
from train.assemble import assemble
from train.experiment import Experiment
from train.prepare import open_finished
from train.restore import open_checkpoints
from train.state import TrainState

TIMING = (
    *("tokens_per_second", "positions_per_second", "steps_per_second"),
    *("step_seconds_p50", "step_seconds_p90", "step_seconds_max"),
    *("model_flops_per_second", "mfu"),
)


def records(workdir: Path) -> list[dict[str, Any]]:
    """metrics.jsonl; every line must be JSON without NaN."""

    def refuse(name: str) -> None:
        raise AssertionError(f"metrics.jsonl holds {name}")

    lines = (workdir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line, parse_constant=refuse) for line in lines]


def untimed(workdir: Path) -> list[dict[str, Any]]:
    """The records without what a clock decides."""
    return [{k: v for k, v in r.items() if k not in TIMING} for r in records(workdir)]


@functools.cache
def shapes_of(experiment: Experiment) -> TrainState:
    """The training state of an experiment on one device, as shapes."""
    return assemble(experiment, MeshShape().build(jax.devices()[:1])).state


def leaves(workdir: Path, which: str = "last") -> dict[str, bytes]:
    """Every array of a checkpoint's state, by name, as bytes."""
    run = open_finished(workdir)
    with open_checkpoints(run, read_only=True) as checkpoints:
        state = checkpoints.restore(checkpoints.choose(which), shapes_of(run.experiment))
    pairs, _ = jax.tree_util.tree_flatten_with_path(state)
    return {jax.tree_util.keystr(path): np.asarray(leaf).tobytes() for path, leaf in pairs}
