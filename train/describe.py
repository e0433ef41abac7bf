"""What is about to run, in a few lines for people."""

import jax
from jax.sharding import Mesh

from train import peers
from train.experiment import Experiment
from train.pipeline import TrainData
from train.state import TrainState, count


def described(
    experiment: Experiment, mesh: Mesh, data: TrainData, state: TrainState, start: int, begun: str
) -> str:
    """The run: its size, its devices, its data, and where it stands.

    Args:
        experiment: the experiment.
        mesh: its devices.
        data: its training data.
        state: its state.
        start: the step at which it goes on.
        begun: what its parameters began from, if not from random numbers alone.
    """
    axes = [f"{axis} {size}" for axis, size in mesh.shape.items() if size > 1]
    shape = f" ({' x '.join(axes)})" if axes else ""
    dropped = data.examples.num_dropped
    frozen = " (some frozen)" if experiment.optimizer.frozen else ""
    lines = [
        f"{experiment.name}: {count(state.params):,} parameters{frozen} on {mesh.size} "
        f"{jax.devices()[0].platform} device(s){shape}"
        + (f" of {peers.number()} processes" if peers.number() > 1 else ""),
        f"{len(data.examples):,} training examples, {data.steps_per_epoch:,} batches an "
        f"epoch in {len(data.shapes)} shape(s)"
        + (f"; {dropped:,} over the maximum length were dropped" if dropped else ""),
        begun,
        f"resumed from step {start:,} of {experiment.steps:,}"
        if start
        else f"{experiment.steps:,} steps from seed {experiment.seed}",
    ]
    return "\n".join(line for line in lines if line)


def shown(numbers: dict[str, float]) -> str:
    """Names and values in a line."""
    return "  ".join(f"{name} {value:.4g}" for name, value in numbers.items())
