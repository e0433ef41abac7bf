"""What a run's speed is held against: a batch's work, and what the devices could do at best."""

import dataclasses
import functools
import math
import time
from collections.abc import Mapping

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

from flaxformers_edu.devices import device_named
from flaxformers_edu.errors import InputError
from flaxformers_edu.flops import training_flops
from train.experiment import Experiment
from train.units import in_flops


@dataclasses.dataclass(frozen=True)
class Work:
    """What a step computes for a batch, padding included."""

    positions: int
    """Positions whose next token is predicted: those of the decoder, where there is one."""
    flops: float
    """FLOPs of the model, forward and backward, in the conventions of `flaxformers_edu.flops`."""

    @classmethod
    def of(cls, experiment: Experiment, batch: Mapping[str, Array]) -> "Work":
        """The work of an experiment's step for a global batch."""
        shapes = {name: x.shape for name, x in batch.items()}
        predicted = shapes.get("decoder_input_ids", shapes["input_ids"])
        return cls(math.prod(predicted), step_flops(experiment, shapes))


def step_flops(experiment: Experiment, shapes: Mapping[str, tuple[int, ...]]) -> float:
    """FLOPs of a training step, in closed form, for a batch of these shapes.

    An objective that chooses on the device what it predicts says so by `shapes(shapes)`.
    """
    objective = experiment.objective
    if hasattr(objective, "shapes"):
        shapes = objective.shapes(shapes)
    # A second head beside that of the task, as in GPT-1's fine-tuning: the body is the same.
    tasks = (getattr(objective, "auxiliary_task", ""), objective.task)
    parts: dict[str, float] = {}
    for task in filter(None, tasks):
        parts |= experiment.model.forward_flops(shapes, task=task)
    return training_flops(parts)


@dataclasses.dataclass(frozen=True)
class Peak:
    """What the devices of a mesh can compute at best."""

    num_devices: int
    name: str
    """Of one device."""
    flops: float
    """FLOP/s of one device."""
    source: str
    """How that is known."""

    @property
    def total(self) -> float:
        """FLOP/s of all devices."""
        return self.num_devices * self.flops

    def description(self) -> str:
        """What MFU is the fraction of, in a line."""
        return (
            f"MFU is of {self.num_devices} x {self.name} at {in_flops(self.flops)} each, "
            f"{self.source}; causal attention counts half"
        )


def peak_of(mesh: Mesh, dtype: str) -> Peak:
    """The peak for products in `dtype`: by the datasheet, or else measured (which takes < 1 s)."""
    kind: str = mesh.devices.flat[0].device_kind
    try:
        device = device_named(kind)
    except InputError:
        local = tuple(mesh.local_devices)
        size = 768 if local[0].platform == "cpu" else 8192
        # A CPU has no faster product than in float32.
        dtype = "float32" if local[0].platform == "cpu" else dtype
        source = f"measured by a {size}-cube {dtype} product on all at once"
        return Peak(mesh.size, kind, measured_peak(local, dtype, size), source)
    return Peak(mesh.size, device.name, device.peak(dtype), f"its datasheet's {dtype}")


@functools.cache
def measured_peak(devices: tuple[jax.Device, ...], dtype: str, size: int) -> float:
    """FLOP/s of one device in the product of two square matrices, while all others do the same.

    All at once, because simulated devices share one processor. The best of the products that fit
    into 0.2 s.
    """
    mesh = Mesh(np.array(devices), ("device",))
    rng = np.random.default_rng(0)

    def matrix(rows: int, *spec: str) -> Array:
        values = rng.standard_normal((rows, size), np.float32).astype(dtype)
        return jax.device_put(values, NamedSharding(mesh, PartitionSpec(*spec)))

    x, w = matrix(len(devices) * size, "device"), matrix(size)
    product = jax.jit(lambda x, w: x @ w)
    product(x, w).block_until_ready()  # compiles
    end, best = time.perf_counter() + 0.2, math.inf
    while (start := time.perf_counter()) < end:
        product(x, w).block_until_ready()
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best
