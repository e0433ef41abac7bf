"""The real training step, compiled for devices that are not here."""

import contextlib
import dataclasses
import math
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
from jax.experimental.compilation_cache import compilation_cache
from jax.sharding import Mesh

from flaxformers_edu.sharding import batch_sharding, check_lengths
from flaxformers_edu.text.batching import rows_of_bucket
from train.assemble import Assembled, assemble
from train.experiment import Experiment
from train.placement import rows_multiple
from train.state import TrainState
from train.streams import check_streams


@dataclass(frozen=True)
class Step:
    """A training step before it is compiled: shapes, types and shardings only."""

    training: Assembled
    """What `run` would train."""
    batch: dict[str, jax.ShapeDtypeStruct]
    rows: int
    """Of the batch, over all devices."""
    length: int
    """Tokens of a row."""

    @property
    def experiment(self) -> Experiment:
        """What is trained."""
        return self.training.experiment

    @property
    def mesh(self) -> Mesh:
        """Where."""
        return self.training.mesh

    @property
    def state(self) -> TrainState:
        """The training state."""
        return self.training.state

    @property
    def remat(self) -> str:
        """The model's policy of recomputation."""
        return getattr(self.experiment.model, "remat", "none")

    def function(self) -> Any:
        """The very function that `run` compiles."""
        return self.training.step(self.experiment.accumulation)

    def changed(self, **fields: Any) -> "Step":
        """With other fields of the experiment, such as change no shape of the state."""
        experiment = dataclasses.replace(self.experiment, **fields)
        return dataclasses.replace(
            self, training=dataclasses.replace(self.training, experiment=experiment)
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
    room: int | None = None
    """Bytes that the compiler had to lay it out in, where it did not fit and says so: the device's,
    less what the runtime keeps for itself."""


def prepare_step(experiment: Experiment, devices: Sequence[jax.Device]) -> Step:
    """The step that `run` would compile on these devices, for the longest bucket.

    No data is read and no array is made: a batch of no examples tells the shapes. A batch that
    grows is planned at its full size, which needs the most.

    Raises:
        InputError: a mesh that does not multiply, or a batch that does not divide.
    """
    objective, batching = experiment.objective, experiment.batching
    mesh = experiment.mesh.build(devices)
    length = batching.lengths[-1]
    ramp = batching.ramp
    multiple = rows_multiple(mesh) * ramp.parts(experiment.accumulation, multiple=1)
    rows = ramp.full * rows_of_bucket(length, batching.tokens_per_batch // ramp.full, multiple)
    if experiment.streams:
        rows = check_streams(batching, multiple)
    check_lengths([length], mesh)
    arrays = objective.collate(experiment.model, packed=batching.packing)([], rows, length)
    lies = batch_sharding(mesh)
    batch = {
        name: jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=lies)
        for name, array in arrays.items()
    }
    return Step(assemble(experiment, mesh), batch, rows, length)


def compile_step(step: Step) -> Program:
    """Compiles it; where it does not fit, the compiler still says how much it would need."""
    begin = time.perf_counter()
    try:
        with jax.set_mesh(step.mesh), without_cache():
            lowered = step.function().lower(step.state, step.batch)
            compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        found = needed_bytes(str(error), device_bytes((step.state, step.batch)))
        if found is None:
            raise
        needed, room = found
        return Program("", None, needed, time.perf_counter() - begin, room)
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


_SIZE = r"([\d.]+)([KMGT]?)i?B?"
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def needed_bytes(message: str, arguments: int) -> tuple[int, int | None] | None:
    """The need, and the room for it, that libtpu names when a program does not fit.

    It speaks of all that lies in HBM, or of the temporaries alone, beside the arguments; then of
    the room it does not say what it means. None for another complaint.
    """
    if whole := re.search(rf"Used {_SIZE} of {_SIZE} hbm", message):
        return _bytes(whole[1], whole[2]), _bytes(whole[3], whole[4])
    if temporaries := re.search(rf"required for HLO temporaries \({_SIZE}\)", message):
        return _bytes(temporaries[1], temporaries[2]) + arguments, None
    return None


def _bytes(number: str, unit: str) -> int:
    return round(float(number) * _UNITS[unit])


def device_bytes(tree: Any) -> int:
    """Bytes of a tree of shapes on one device, from shardings alone."""
    return sum(
        math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(tree)
    )
