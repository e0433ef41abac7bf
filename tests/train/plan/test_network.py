"""Links and least times of collectives, on tori made by hand."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from train.plan.costs import Collective
from train.plan.network import DCN, route, seconds, seconds_by_link
from train.plan.topology import parse_topology

MIB = 2**20


@dataclasses.dataclass(frozen=True)
class Chip:
    coords: tuple[int, int, int]
    slice_index: int


def torus(shape: tuple[int, int, int], mesh: tuple[int, ...], slices: int = 1):
    """A mesh (data, fsdp, tensor) in the order of x, y, z, the last fastest."""
    chips = [Chip(place, s) for s in range(slices) for place in np.ndindex(shape)]
    array = np.empty(len(chips), object)
    array[:] = chips
    return SimpleNamespace(devices=array.reshape(mesh), axis_names=("data", "fsdp", "tensor"))


def group(mesh, **fixed: int) -> tuple[int, ...]:
    """Positions along the axes that are not fixed."""
    ids = np.arange(mesh.devices.size).reshape(mesh.devices.shape)
    index = tuple(fixed.get(name, slice(None)) for name in mesh.axis_names)
    return tuple(int(i) for i in ids[index].ravel())


def least(kind: str, members, mesh, topology) -> float:
    collective = Collective(kind, MIB, (members,), "")
    return seconds(collective, route((members,), mesh), topology)


def test_a_ring_is_used_both_ways_round():
    """v5p: 4 chips on a closed axis of links of 100 GB/s."""
    topology, mesh = parse_topology("v5p:4x4x4"), torus((4, 4, 4), (1, 16, 4))
    members = group(mesh, data=0, fsdp=0)
    way = route((members,), mesh)
    assert (way.mesh_axes, way.extents, way.links) == (("tensor",), {2: 4}, "ICI z")
    gathered = MIB * 3 / 4 / (2 * 100e9)
    assert least("all-gather", members, mesh, topology) == pytest.approx(gathered)
    assert least("reduce-scatter", members, mesh, topology) == pytest.approx(gathered)
    assert least("all-reduce", members, mesh, topology) == pytest.approx(2 * gathered)


def test_two_axes_are_used_at_once():
    topology, mesh = parse_topology("v5p:4x4x4"), torus((4, 4, 4), (1, 16, 4))
    members = group(mesh, data=0, tensor=0)
    assert route((members,), mesh).links == "ICI xy"
    expected = MIB * 15 / 16 / (4 * 100e9)
    assert least("all-gather", members, mesh, topology) == pytest.approx(expected)


def test_a_line_has_half_the_ways():
    """v5e closes its axes at 16 only."""
    line, ring = parse_topology("v5e:8x8"), parse_topology("v5e:16x16")
    short, long = torus((8, 8, 1), (1, 8, 8)), torus((16, 16, 1), (1, 16, 16))
    on_line = least("all-gather", group(short, data=0, fsdp=0), short, line)
    on_ring = least("all-gather", group(long, data=0, fsdp=0), long, ring)
    assert on_line == pytest.approx(MIB * 7 / 8 / 50e9)
    assert on_ring == pytest.approx(MIB * 15 / 16 / (2 * 50e9))


def test_an_exchange_is_bound_by_the_middle_of_a_ring():
    topology, mesh = parse_topology("v5p:4x4x8"), torus((4, 4, 8), (1, 16, 8))
    members = group(mesh, data=0, fsdp=0)
    assert least("all-to-all", members, mesh, topology) == pytest.approx(MIB * 8 / 8 / 100e9)


def test_chips_that_are_no_box_have_one_way():
    """(0,0) and (1,1): two of the four that their extents span."""
    topology, mesh = parse_topology("v5p:4x4x4"), torus((4, 4, 4), (1, 16, 4))
    way = route(((0, 20),), mesh)
    assert (way.extents, way.chips) == ({0: 2, 1: 2}, 2)
    assert least("all-gather", (0, 20), mesh, topology) == pytest.approx(MIB / 2 / 100e9)


def test_between_slices_each_chip_carries_its_share():
    """2 slices of 4 chips; v5p's network gives each chip 6.25 GB/s."""
    topology = parse_topology("v5p:2x2x1", slices=2)
    mesh = torus((2, 2, 1), (2, 4, 1), slices=2)
    members = group(mesh, fsdp=0, tensor=0)
    assert route((members,), mesh).links == "DCN"
    crossing = 2 * MIB * 1 / 2 / 6.25e9
    assert least("all-reduce", members, mesh, topology) == pytest.approx(crossing)
    whole = tuple(range(8))
    assert route((whole,), mesh).links == "ICI xy + DCN"
    assert least("all-reduce", whole, mesh, topology) == pytest.approx(crossing / 4)


def test_what_waits_for_the_slow_network_leaves_the_fast_one_free():
    topology, mesh = parse_topology("v5p:2x2x1", slices=2), torus((2, 2, 1), (2, 4, 1), slices=2)
    whole = tuple(range(8))
    collective = Collective("all-reduce", MIB, (whole,), "")
    by_link = seconds_by_link(collective, route((whole,), mesh), topology)
    assert set(by_link) == {0, 1, DCN}
    assert by_link[0] == by_link[1] == pytest.approx(2 * MIB * 3 / 4 / (2 * 100e9))
    assert by_link[DCN] == seconds(collective, route((whole,), mesh), topology) > 2 * by_link[0]


def test_cores_of_a_chip_need_no_link():
    topology, mesh = parse_topology("tpu7x:2x2x1"), torus((1, 1, 1), (1, 1, 1))
    mesh.devices = np.array([[[Chip((0, 0, 0), 0), Chip((0, 0, 0), 0)]]], object)
    assert route(((0, 1),), mesh).links == "within a chip"
    assert least("all-reduce", (0, 1), mesh, topology) == 0
