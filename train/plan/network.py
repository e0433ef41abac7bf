"""The links that a collective uses, and the least time that they take.

A slice is a torus: along each axis a chip has a neighbour on either side, and where the axis
closes to a ring, both ways round are used. Bounds by bandwidth only: no latency, and nothing else
on the links.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np
from jax.sharding import Mesh

from train.plan.costs import Collective
from train.plan.groups import Group
from train.plan.topology import Topology

ICI, DCN = "ICI", "DCN"
"""The links within a slice, and the data-centre network between slices."""


@dataclass(frozen=True)
class Route:
    """Where a collective goes."""

    mesh_axes: tuple[str, ...]
    """Axes of the mesh along which its devices differ."""
    extents: dict[int, int]
    """Chips along each axis of the torus, where there is more than one."""
    chips: int
    """Chips of a slice that take part; fewer than the extents span where it is no box of them."""
    slices: int
    """Slices that it joins."""

    @property
    def links(self) -> str:
        """For people: `ICI z`, `ICI xy + DCN`."""
        torus = "".join("xyz"[axis] for axis in sorted(self.extents))
        ici = [f"{ICI} {torus}"] if torus else []
        return " + ".join(ici + ([DCN] if self.slices > 1 else [])) or "within a chip"


def route(groups: Sequence[Group], mesh: Mesh) -> Route:
    """The route of a collective among devices, given as positions in the mesh's order."""
    devices: list[jax.Device] = list(mesh.devices.flat)
    positions = np.array(list(np.ndindex(mesh.devices.shape)))
    differing = np.zeros(positions.shape[1], bool)
    extents: np.ndarray = np.ones(3, int)
    chips = slices = 1
    for group in groups:
        members = [devices[i] for i in group]
        differing |= np.ptp(positions[list(group)], axis=0) > 0
        places = {tuple(device.coords) for device in members}
        extents = np.maximum(extents, [len(set(column)) for column in zip(*places, strict=True)])
        chips = max(chips, len(places))
        slices = max(slices, len({slice_of(device) for device in members}))
    axes = tuple(name for name, differs in zip(mesh.axis_names, differing, strict=True) if differs)
    return Route(axes, {d: int(n) for d, n in enumerate(extents) if n > 1}, chips, slices)


def slice_of(device: jax.Device) -> int:
    """The number of a device's slice."""
    return getattr(device, "slice_index", None) or 0


def seconds(collective: Collective, way: Route, topology: Topology) -> float:
    """The least time of one run: that of the busiest links."""
    return max(seconds_by_link(collective, way, topology).values(), default=0.0)


def seconds_by_link(
    collective: Collective, way: Route, topology: Topology
) -> dict[int | str, float]:
    """The least time of one run on each axis of the torus, and on the network between slices.

    A chip sends at least (n-1)/n of what it gathers or reduces and twice that for an all-reduce
    (Patarasu & Yuan 2009), over all ways that it has along the axes used. An exchange among
    all is bound by the links across the middle of its longest axis: on a ring of m chips, m/8 of a
    chip's payload crosses each. Between slices, each chip carries its share of a slice's
    payload over its own part of the network.
    """
    device, payload = topology.device, collective.bytes
    factor = 2 if collective.kind == "all-reduce" else 1
    found: dict[int | str, float] = {}
    if way.extents:
        link = device.link_bandwidth / device.devices_per_chip
        ways = {axis: ways_along(axis, n, topology) for axis, n in way.extents.items()}
        match collective.kind:
            case "collective-permute":
                within = payload / link
            case "all-to-all":
                longest = max(way.extents, key=lambda axis: way.extents[axis])
                within = payload * way.extents[longest] / (4 * ways[longest]) / link
            case _:
                is_box = np.prod(list(way.extents.values())) == way.chips
                used = sum(ways.values()) if is_box else 1
                within = factor * payload * (way.chips - 1) / way.chips / (link * used)
        found.update(dict.fromkeys(way.extents, within))
    if way.slices > 1:
        assert device.network_bandwidth is not None  # checked where the topology was parsed
        each_its_own = collective.kind in ("all-to-all", "collective-permute")
        share = payload if each_its_own else factor * payload / way.chips
        found[DCN] = share * (way.slices - 1) / way.slices / device.network_bandwidth
    return found


def ways_along(axis: int, extent: int, topology: Topology) -> int:
    """Ways along an axis of the torus: two round a closed ring; one along a part, or a line."""
    return 2 if extent == topology.shape[axis] and topology.closes(axis) else 1
