"""Other ways to run the same step: mesh shapes, remat policies, parts of a batch.

All of them are estimated, and those that promise most are compiled.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import jax

from flaxformers_edu.errors import InputError
from flaxformers_edu.sharding import MeshShape
from train.placement import rows_multiple
from train.plan.analysis import Plan, analyse
from train.plan.apart import compile_apart
from train.plan.estimate import Estimate, Kept, estimate, kept_for_backward
from train.plan.program import Step, prepare_step
from train.plan.topology import Topology

REMATS = ("none", "dots_no_batch", "full")
PARTS = (1, 2, 4, 8, 16, 32)
TENSOR = (1, 2, 4, 8, 16)


class Estimator:
    """Estimates steps of one batch on one topology; each remat policy is traced once."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self.factor = 1.0
        """What temporaries really are of what they are estimated to be."""
        self._kept: dict[str, Kept] = {}

    def __call__(self, step: Step) -> Estimate:
        """The raw estimate."""
        return estimate(step, self._of(step), self._of(with_remat(step, "none")), self.topology)

    def learn(self, step: Step, needed: int) -> None:
        """Takes what a compiled program needs as the measure of things."""
        raw = self(step)
        self.factor = max(0.1, (needed - raw.state) / raw.temporaries)

    def memory(self, step: Step) -> float:
        """Bytes that a device is expected to need."""
        raw = self(step)
        return raw.state + self.factor * raw.temporaries

    def _of(self, step: Step) -> Kept:
        if step.remat not in self._kept:
            self._kept[step.remat] = kept_for_backward(step)
        return self._kept[step.remat]


def with_remat(step: Step, remat: str) -> Step:
    """The same step under another policy; as it is where the family has none."""
    if step.remat == remat or not hasattr(step.experiment.model, "remat"):
        return step
    return step.changed(model=dataclasses.replace(step.experiment.model, remat=remat))


def with_parts(step: Step, parts: int) -> Step | None:
    """The same batch in so many parts; None where its rows do not divide, or noise needs more."""
    if step.rows % (rows_multiple(step.mesh) * parts) or parts < _fewest_parts(step):
        return None
    return step.changed(accumulation=parts)


def with_mesh(step: Step, mesh: MeshShape, devices: Sequence[jax.Device]) -> Step | None:
    """The same batch, in as few parts as can be, on another mesh; None if anything is uneven."""
    parts = _fewest_parts(step)
    experiment = dataclasses.replace(step.experiment, mesh=mesh, accumulation=parts)
    try:
        other = prepare_step(experiment, devices)
    except InputError:
        return None
    return other if other.rows == step.rows else None


def _fewest_parts(step: Step) -> int:
    """The noise scale is measured between parts."""
    return 2 if step.experiment.noise_scale else 1


def settings(step: Step) -> str:
    """What candidates differ in, as options of the command line."""
    model = step.experiment.model
    options = [f"--mesh.{axis} {step.mesh.shape[axis]}" for axis in ("data", "fsdp", "tensor")]
    options += [f"--model.remat {model.remat}"] if hasattr(model, "remat") else []
    return " ".join([*options, f"--accumulation {step.experiment.accumulation}"])


def meshes(topology: Topology) -> Iterator[MeshShape]:
    """All with powers of two along `tensor`, and powers of four (times the slices) along `data`."""
    for tensor in TENSOR:
        data = topology.slices
        while topology.num_devices % (data * tensor) == 0:
            yield MeshShape(data=data, fsdp=topology.num_devices // data // tensor, tensor=tensor)
            data *= 4


def candidates(step: Step, topology: Topology, devices: Sequence[jax.Device]) -> Iterator[Step]:
    """Steps with the same batch as `step`: other meshes, policies and numbers of parts."""
    for mesh in meshes(topology):
        on_mesh = with_mesh(step, mesh, devices)
        if on_mesh is None:
            continue
        remats = REMATS if hasattr(step.experiment.model, "remat") else (step.remat,)
        for remat in remats:
            for parts in PARTS:
                if found := with_parts(with_remat(on_mesh, remat), parts):
                    yield found


def search(
    step: Step,
    topology: Topology,
    devices: Sequence[jax.Device],
    estimator: Estimator,
    *,
    limit: int,
    say: Callable[[str], None],
) -> list[tuple[Step, Plan]]:
    """Compiles the `limit` most promising candidates; those that fit first, the fastest first.

    One that the compiler itself dies of is named, and left out.
    """
    open_ones = list(candidates(step, topology, devices))
    say(f"{len(open_ones)} settings divide; compiling the {limit} that promise most")
    found: list[tuple[Step, Plan]] = []
    while open_ones and len(found) < limit:
        best = min(open_ones, key=lambda one: promise(one, estimator))
        open_ones.remove(best)
        program = compile_apart(best, topology)
        if program is None:
            say(f"  {settings(best)}: the compiler crashed")
            continue
        estimator.learn(best, program.needed)
        found.append((best, analyse(best, program, topology)))
        say(f"  {settings(best)}: compiled in {program.seconds:.0f} s")
    return sorted(found, key=lambda pair: rank(pair[1]))


def promise(step: Step, estimator: Estimator) -> tuple[bool, float]:
    """What is expected to fit comes first, the fastest of it; of the rest, what needs least."""
    memory = estimator.memory(step)
    fits = memory <= estimator.topology.device.memory
    return (not fits, estimator(step).seconds if fits else memory)


def rank(plan: Plan) -> tuple[bool, float]:
    """What fits comes first, the fastest of it; of the rest, what needs least."""
    return (not plan.memory.fits, plan.times.bound if plan.times else plan.memory.peak)
