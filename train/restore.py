"""What a run has left behind: its checkpoints, and the parameters in them."""

from typing import Any

from jax.sharding import Mesh

from flaxformers_edu.errors import InputError
from train.assemble import assemble
from train.checkpoint import FOLDER, Checkpoints
from train.patience import judged_by
from train.prepare import Run


def open_checkpoints(run: Run, *, read_only: bool = False) -> Checkpoints:
    """The run's checkpoints, the best judged by what it evaluates."""
    experiment = run.experiment
    metric, higher_is_better = judged_by(experiment)
    if read_only and not (run.workdir / FOLDER).is_dir():
        raise InputError(f"{run.workdir} holds no checkpoints: train it first")
    return Checkpoints(
        run.workdir,
        metric=metric,
        higher_is_better=higher_is_better,
        keep_last=experiment.keep_last,
        keep_every=experiment.keep_every,
        read_only=read_only,
    )


def load_params(run: Run, which: str, mesh: Mesh) -> tuple[Any, int]:
    """The parameters to evaluate of a checkpoint ("best", "last" or a step), and its step."""
    with open_checkpoints(run, read_only=True) as checkpoints:
        step = checkpoints.choose(which)
        state = checkpoints.restore(step, assemble(run.experiment, mesh).state)
        return state.eval_params, step
