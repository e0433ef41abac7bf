"""A plan: what a compiled step needs and does on each device, and how fast it could be at best."""

import dataclasses
import math
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from flaxformers_edu.flops import training_flops
from train.plan.costs import Costs, program_costs
from train.plan.hlo import parse
from train.plan.network import Route, route, seconds, seconds_by_link
from train.plan.program import Program, Step, device_bytes
from train.plan.topology import Topology
from train.state import count


@dataclass(frozen=True)
class MemoryParts:
    """Bytes of HBM of one device."""

    parameters: int
    optimizer: int
    average: int
    """The moving average of the parameters, where there is one."""
    batch: int
    gradients: int
    """In closed form: as many as the parameters, in float32. They lie among the temporaries."""
    activations: int
    """The rest of the temporaries, and of the arguments what the compiler pads."""
    program: int
    """Its code, and results that take no argument's place."""
    peak: int
    """All of it."""
    capacity: int
    """What the device has; where the compiler refused the program, what it said there was."""
    compiled: bool = True
    """Whether the compiler found a place for everything. It may refuse a little below the
    capacity: the runtime keeps a part of it."""

    @property
    def fits(self) -> bool:
        """Whether it does."""
        return self.compiled and self.peak <= self.capacity


@dataclass(frozen=True)
class Flops:
    """Of one step, over all devices."""

    model: float | None
    """What the model needs: 3 x forward, in closed form; None where its family has none."""
    masked: float | None
    """The same with the pairs that a mask hides, which a program may multiply as well."""
    program: float
    """What the program does: products in the open and those of known kernels."""
    kernels: float
    """Of these, in Pallas kernels, by a formula."""
    uncounted_kernels: tuple[str, ...]
    """Kernels that nothing is known of."""


@dataclass(frozen=True)
class Traffic:
    """Collectives of one kind along the same way, a step."""

    kind: str
    axes: str
    """Axes of the mesh."""
    group: int
    """Devices that take part in each."""
    links: str
    count: float
    bytes: float
    """A device's payload."""
    seconds: float
    """At the least."""
    source: str
    """The operation of the model that has the most of it."""


@dataclass(frozen=True)
class Times:
    """The least time of a step by what each part of a device has to do, in seconds."""

    compute: float
    memory: float
    network: float
    """The busiest axis of the torus, or the network between slices."""

    @property
    def binding(self) -> str:
        """The part that takes longest."""
        return max(("compute", "memory", "network"), key=lambda name: getattr(self, name))

    @property
    def bound(self) -> float:
        """No step is faster: all three overlap perfectly."""
        return max(self.compute, self.memory, self.network)

    @property
    def in_turn(self) -> float:
        """Nothing overlaps."""
        return self.compute + self.memory + self.network


@dataclass(frozen=True)
class Plan:
    """The answer."""

    name: str
    topology: str
    devices: int
    chips: int
    mesh: dict[str, int]
    remat: str
    accumulation: int
    rows: int
    length: int
    parameters: int
    memory: MemoryParts
    peak_flops: float
    """FLOP/s of a device."""
    memory_bandwidth: float
    compile_seconds: float
    flops: Flops | None = None
    """None, as all that follows, where the program does not fit: then there is none."""
    hbm_bytes: float = 0
    """That a device moves a step."""
    traffic: tuple[Traffic, ...] = ()
    times: Times | None = None
    unknown_loops: int = 0
    """Loops whose length the program does not say, counted once."""

    @property
    def tokens(self) -> int:
        """Positions of a step, of one side."""
        return self.rows * self.length

    def mfu(self, seconds: float) -> float | None:
        """Model FLOPs utilisation of a step of so many seconds."""
        if self.flops is None or self.flops.model is None:
            return None
        return self.flops.model / (seconds * self.devices * self.peak_flops)

    def to_json(self) -> dict[str, Any]:
        """All of it, with what follows from it."""
        found = {**dataclasses.asdict(self), "fits": self.memory.fits, "tokens": self.tokens}
        if self.times is not None:
            bound = self.times.bound
            found["bound"] = {
                "by": self.times.binding,
                "seconds": bound,
                "tokens_per_second": self.tokens / bound,
                "mfu": self.mfu(bound),
                "mfu_without_overlap": self.mfu(self.times.in_turn),
            }
        return found


def analyse(step: Step, program: Program, topology: Topology) -> Plan:
    """Reads the program, and holds it against what the devices can do."""
    device, experiment = topology.device, step.experiment
    plan = Plan(
        name=experiment.name,
        topology=topology.name,
        devices=topology.num_devices,
        chips=topology.num_chips,
        mesh=dict(step.mesh.shape),
        remat=step.remat,
        accumulation=experiment.accumulation,
        rows=step.rows,
        length=step.length,
        parameters=count(step.state.params),
        memory=memory_parts(step, program, int(device.memory)),
        peak_flops=device.peak(getattr(experiment.model, "dtype", "bfloat16")),
        memory_bandwidth=device.memory_bandwidth,
        compile_seconds=program.seconds,
    )
    if not program.hlo:
        return plan
    costs = program_costs(parse(program.hlo), step.mesh.size)
    flops = _flops(step, costs)
    ways = {c.groups: route(c.groups, step.mesh) for c in costs.collectives}
    times = Times(
        flops.program / plan.devices / plan.peak_flops,
        costs.hbm_bytes / plan.memory_bandwidth,
        _network_seconds(costs, ways, topology),
    )
    return dataclasses.replace(
        plan,
        flops=flops,
        hbm_bytes=costs.hbm_bytes,
        traffic=_traffic(costs, ways, topology),
        times=times,
        unknown_loops=costs.unknown_loops,
    )


def memory_parts(step: Step, program: Program, capacity: int) -> MemoryParts:
    """Where a device's memory goes; what shapes do not tell is what the compiler says is left."""
    parameters = device_bytes(step.state.params)
    optimizer, average = device_bytes(step.state.opt_state), device_bytes(step.state.ema)
    batch = device_bytes(step.batch)
    other = program.memory.outputs + program.memory.code if program.memory else 0
    known = 2 * parameters + optimizer + average + batch + other
    return MemoryParts(
        parameters=parameters,
        optimizer=optimizer,
        average=average,
        batch=batch,
        gradients=parameters,
        activations=max(0, program.needed - known),
        program=other,
        peak=program.needed,
        capacity=program.room or capacity,
        compiled=program.memory is not None,
    )


def _flops(step: Step, costs: Costs) -> Flops:
    shapes = {name: array.shape for name, array in step.batch.items()}
    forward = getattr(step.experiment.model, "forward_flops", None)
    hidden = sum(kernel.count * (kernel.flops or 0) for kernel in costs.kernels)
    return Flops(
        model=training_flops(forward(shapes)) if forward else None,
        masked=training_flops(forward(shapes, masked=True)) if forward else None,
        program=(costs.flops + hidden) * step.mesh.size,
        kernels=hidden * step.mesh.size,
        uncounted_kernels=tuple(sorted({k.name for k in costs.kernels if k.flops is None})),
    )


def _network_seconds(costs: Costs, ways: dict[Any, Route], topology: Topology) -> float:
    """Collectives along different axes may run at once; those along the same axis may not."""
    busy: dict[Any, float] = defaultdict(float)
    for collective in costs.collectives:
        took = seconds_by_link(collective, ways[collective.groups], topology)
        for link, each in took.items():
            busy[link] += collective.count * each
    return max(busy.values(), default=0.0)


def _traffic(costs: Costs, ways: dict[Any, Route], topology: Topology) -> tuple[Traffic, ...]:
    """The collectives by kind and way, the longest first."""
    grouped = defaultdict(list)
    for collective in costs.collectives:
        way = ways[collective.groups]
        size = len(collective.groups[0])
        grouped[collective.kind, way.mesh_axes, size, way.links].append(collective)
    found = []
    for (kind, axes, size, links), members in grouped.items():
        largest = max(members, key=lambda c: c.bytes * c.count)
        found.append(
            Traffic(
                kind,
                " x ".join(axes),
                size,
                links,
                math.fsum(c.count for c in members),
                math.fsum(c.bytes * c.count for c in members),
                math.fsum(c.count * seconds(c, ways[c.groups], topology) for c in members),
                largest.source,
            )
        )
    return tuple(sorted(found, key=lambda t: t.seconds, reverse=True))
