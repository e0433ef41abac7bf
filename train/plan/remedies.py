"""What would make a step fit: the smallest change of each kind, by estimate."""

import dataclasses
from collections.abc import Iterator, Sequence

import jax

from flaxformers_edu.sharding import MeshShape
from train.plan.program import Step, prepare_step
from train.plan.search import (
    PARTS,
    REMATS,
    Estimator,
    candidates,
    settings,
    with_mesh,
    with_parts,
    with_remat,
)
from train.plan.text import GIB
from train.plan.topology import (
    SHAPES,
    Topology,
    compile_only_devices,
    larger,
    parse_topology,
)


def remedies(
    step: Step, topology: Topology, devices: Sequence[jax.Device], estimator: Estimator
) -> list[str]:
    """Changes after which the step is expected to fit, each as an option and what it would need.

    One change of a kind: the first that is enough. Where none is, the least of the combinations
    on this topology; and always the smallest larger topology, and the same one of roomier chips.
    """
    capacity, found = topology.device.memory, []
    for ladder in (_more_parts(step), _more_remat(step), _more_fsdp(step, devices), _moments(step)):
        for option, other in ladder:
            if other is not None and (needed := estimator.memory(other)) <= capacity:
                found.append(f"{option} ({needed / GIB:.1f} GiB)")
                break
    if not found:
        step = min(candidates(step, topology, devices), key=estimator.memory, default=step)
        needed = estimator.memory(step)
        enough = "would fit" if needed <= capacity else "is the least, and too much"
        found.append(f"{settings(step)} {enough} ({needed / GIB:.1f} GiB)")
    found += _more_chips(step, topology, estimator)
    return found + _roomier_chips(step, topology, estimator)


Ladder = Iterator[tuple[str, Step | None]]


def _more_parts(step: Step) -> Ladder:
    for parts in PARTS:
        if parts > step.experiment.accumulation:
            yield f"--accumulation {parts}", with_parts(step, parts)


def _more_remat(step: Step) -> Ladder:
    if step.remat in REMATS:
        for remat in REMATS[REMATS.index(step.remat) + 1 :]:
            yield f"--model.remat {remat}", with_remat(step, remat)


def _more_fsdp(step: Step, devices: Sequence[jax.Device]) -> Ladder:
    """First at the cost of `data`, whose copies hold the state again, then of `tensor`."""
    sizes = dict(step.mesh.shape)
    for axis in ("data", "tensor"):
        while sizes[axis] % 2 == 0:
            sizes = {**sizes, axis: sizes[axis] // 2, "fsdp": sizes["fsdp"] * 2}
            mesh = MeshShape(**sizes)
            other = with_mesh(step, mesh, devices)
            option = f"--mesh.data {mesh.data} --mesh.fsdp {mesh.fsdp} --mesh.tensor {mesh.tensor}"
            yield option, other and with_parts(other, step.experiment.accumulation)


def _moments(step: Step) -> Ladder:
    """First moments in half the bytes."""
    experiment = step.experiment
    if experiment.optimizer.mu_dtype != "bfloat16":
        optimizer = dataclasses.replace(experiment.optimizer, mu_dtype="bfloat16")
        other = dataclasses.replace(experiment, optimizer=optimizer)
        yield "--optimizer.mu-dtype bfloat16", prepare_step(other, list(step.mesh.devices.flat))


def _more_chips(step: Step, topology: Topology, estimator: Estimator) -> list[str]:
    """The smallest larger topology that is enough, its further chips along `fsdp`."""
    over_all = estimator.memory(step) * topology.num_devices
    for other in larger(topology):
        if over_all > 1.5 * other.num_devices * other.device.memory:
            continue  # hopeless, and each takes seconds
        mesh = MeshShape(data=other.slices, fsdp=-1, tensor=step.mesh.shape["tensor"])
        if (on_mesh := with_mesh(step, mesh, compile_only_devices(other))) is None:
            continue  # the batch, or the model, does not divide over so many
        for parts in PARTS:
            in_parts = with_parts(on_mesh, parts)
            if in_parts and (needed := estimator.memory(in_parts)) <= other.device.memory:
                return [
                    f"more chips: {other.name} with {settings(in_parts)} ({needed / GIB:.1f} GiB)"
                ]
    return []


def _roomier_chips(step: Step, topology: Topology, estimator: Estimator) -> list[str]:
    """As many devices with more memory run the same program: the least of it that is enough."""
    needed = estimator.memory(step)
    enough = [
        other
        for other in map(parse_topology, (f"{g}:{s}" for g, all in SHAPES.items() for s in all))
        if other.num_devices == topology.num_devices and needed <= other.device.memory
    ]
    if not enough:
        return []
    dims = topology.device.torus_dims
    least = min(enough, key=lambda one: (one.device.memory, one.device.torus_dims != dims))
    return [f"other chips: {least.name} with {settings(step)} ({needed / GIB:.1f} GiB)"]
