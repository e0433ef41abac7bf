"""The real training step, compiled for devices that are not here."""

import contextlib
import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import optax
from jax.experimental.compilation_cache import compilation_cache
from jax.sharding import Mesh

from flaxformers_edu.sharding import batch_sharding, check_lengths
from flaxformers_edu.text.batching import rows_of_bucket
from train.evaluate import rows_multiple
from train.experiment import Experiment
from train.state import TrainState, abstract_params, abstract_state, shardings_of
from train.step import make_train_step


@dataclass(frozen=True)
class Step:
    """A training step before it is compiled: shapes, types and shardings only."""

    experiment: Experiment
    mesh: Mesh
    optimizer: optax.GradientTransformation
    learning_rate: Callable[[Any], Any]
    state: TrainState
    batch: dict[str, jax.ShapeDtypeStruct]

    @property
    def model(self) -> nn.Module:
        """The module."""
        return self.experiment.model.build(self.experiment.objective.task)

    @property
    def remat(self) -> str:
        """The model's policy of recomputation."""
        return getattr(self.experiment.model, "remat", "none")

    @property
    def rows(self) -> int:
        """Rows of the batch, over all devices."""
        return next(iter(self.batch.values())).shape[0]

    @property
    def length(self) -> int:
        """Tokens of a row."""
        return next(iter(self.batch.values())).shape[1]

    def function(self) -> Any:
        """The very function that `run` compiles."""
        experiment = self.experiment
        return make_train_step(
            self.model,
            experiment.objective,
            self.optimizer,
            self.learning_rate,
            seed=experiment.seed,
            accumulation=experiment.accumulation,
            ema_decay=experiment.ema_decay,
            measure_noise=experiment.noise_scale,
            bad_steps=experiment.bad_steps,
            shardings=shardings_of(self.state),
        )


@dataclass(frozen=True)
class Memory:
    """Bytes of HBM on one device, as the compiler laid them out."""

    arguments: int
    """State and batch."""
    temporaries: int
    """Gradients, activations and whatever else lives between."""
    outputs: int
    """Results that do not take the place of an argument."""
    code: int
    """The program itself."""

    @property
    def peak(self) -> int:
        """All of it."""
        return self.arguments + self.temporaries + self.outputs + self.code


@dataclass(frozen=True)
class Program:
    """What the compiler made of a step."""

    hlo: str
    """The optimised program; empty where it did not fit."""
    memory: Memory | None
    """None where it did not fit."""
    needed: int
    """Bytes that a device needs."""
    seconds: float
    """That lowering and compiling took, here."""


def prepare_step(experiment: Experiment, devices: Sequence[jax.Device]) -> Step:
    """The step that `run` would compile on these devices, for the longest bucket.

    No data is read and no array is made: a batch of no examples tells the shapes.

    Raises:
        InputError: a mesh that does not multiply, or a batch that does not divide.
    """
    objective, batching = experiment.objective, experiment.batching
    mesh = experiment.mesh.build(devices)
    length = batching.lengths[-1]
    parts = rows_multiple(mesh) * experiment.accumulation
    rows = rows_of_bucket(length, batching.tokens_per_batch, parts)
    check_lengths([length], mesh)
    arrays = objective.collate(experiment.model, packed=batching.packing)([], rows, length)
    lies = batch_sharding(mesh)
    batch = {
        name: jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=lies)
        for name, array in arrays.items()
    }
    model = experiment.model.build(objective.task)
    learning_rate = experiment.schedule.build(experiment.steps)
    params = nn.meta.unbox(abstract_params(model))
    optimizer = experiment.optimizer.build(learning_rate, params)
    state = abstract_state(model, optimizer, mesh, **experiment.state_parts)
    return Step(experiment, mesh, optimizer, learning_rate, state, batch)


def compile_step(step: Step) -> Program:
    """Compiles it; where it does not fit, the compiler still says how much it would need."""
    begin = time.perf_counter()
    try:
        with jax.set_mesh(step.mesh), without_cache():
            lowered = step.function().lower(step.state, step.batch)
            compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        needed = needed_bytes(str(error), device_bytes((step.state, step.batch)))
        if needed is None:
            raise
        return Program("", None, needed, time.perf_counter() - begin)
    stats = compiled.memory_analysis()
    memory = Memory(
        stats.argument_size_in_bytes,
        stats.temp_size_in_bytes,
        stats.output_size_in_bytes - stats.alias_size_in_bytes,
        stats.generated_code_size_in_bytes,
    )
    seconds = time.perf_counter() - begin
    return Program(compiled.as_text(), memory, memory.peak, seconds)


@contextlib.contextmanager
def without_cache() -> Iterator[None]:
    """Within, nothing goes through jax's cache on disk.

    A program for devices that are not here can be written to it, but not read back.
    """
    before = jax.config.values["jax_enable_compilation_cache"]
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()  # jax remembers whether there is one
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", before)
        compilation_cache.reset_cache()


_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def needed_bytes(message: str, arguments: int) -> int | None:
    """The need that libtpu names when a program does not fit; None for another complaint.

    It speaks of all that lies in HBM, or of the temporaries alone, beside the arguments.
    """
    whole = re.search(r"Used ([\d.]+)([KMGT]?)i?B? of [\d.]+[KMGT]?i?B? hbm", message)
    if whole:
        return round(float(whole[1]) * _UNITS[whole[2]])
    temporaries = re.search(r"required for HLO temporaries \(([\d.]+)([KMGT]?)\)", message)
    if temporaries:
        return round(float(temporaries[1]) * _UNITS[temporaries[2]]) + arguments
    return None


def device_bytes(tree: Any) -> int:
    """Bytes of a tree of shapes on one device, from shardings alone."""
    return sum(
        math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(tree)
    )
