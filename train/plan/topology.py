"""A TPU topology without a TPU: its devices, as libtpu's compiler describes them."""

import difflib
import importlib.util
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax

from flaxformers_edu.devices import Device, device_named
from flaxformers_edu.errors import InputError

_CUBES = (
    *("2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8"),
    *("4x8x8", "8x8x8", "8x8x16", "8x16x16", "16x16x16"),
)
_SQUARES = ("2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
SHAPES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("v4", "v5p", "tpu7x"), _CUBES),
    **dict.fromkeys(("v5e", "v6e"), _SQUARES),
}
"""Shapes of slices by generation (cloud.google.com/tpu/docs, "supported configurations"); larger
3D ones exist."""
RING_LENGTH = {2: 16, 3: 4}
"""By dimensions of the torus: an axis closes to a ring where its length is a multiple of this (a
2D slice has its wraparound links only at the pod's full 16, a 3D one at every cube of 4)."""


@dataclass(frozen=True)
class Topology:
    """Slices of equal shape: v5p:8x8x8, one or several of them."""

    device: Device
    shape: tuple[int, ...]
    """Chips along each axis of the torus of one slice."""
    slices: int = 1
    """How many, joined by the data-centre network."""

    @property
    def of_one_slice(self) -> str:
        """One slice, as it is written on the command line."""
        return f"{self.device.name}:{'x'.join(map(str, self.shape))}"

    @property
    def name(self) -> str:
        """One slice, and how many of it."""
        several = f", {self.slices} slices" if self.slices > 1 else ""
        return self.of_one_slice + several

    @property
    def num_chips(self) -> int:
        """Over all slices."""
        return math.prod(self.shape) * self.slices

    @property
    def num_devices(self) -> int:
        """As jax counts them."""
        return self.num_chips * self.device.devices_per_chip

    def closes(self, axis: int) -> bool:
        """Whether that axis of the torus is a ring: else it is a line, with half the ways."""
        return self.shape[axis] % RING_LENGTH[self.device.torus_dims] == 0


def parse_topology(name: str, slices: int = 1) -> Topology:
    """The topology of a name such as v5e:16x16.

    Raises:
        InputError: a name that is none, or slices that cannot be joined.
    """
    generation, _, shape = name.partition(":")
    if generation not in SHAPES:
        raise _unknown(name, [f"{known}:{shape}" for known, all in SHAPES.items() for shape in all])
    device = device_named(generation)
    sizes = tuple(map(int, shape.split("x"))) if re.fullmatch(r"\d+(x\d+)*", shape) else ()
    if len(sizes) != device.torus_dims or not math.prod(sizes):
        raise _unknown(name, [f"{generation}:{known}" for known in SHAPES[generation]])
    if slices < 1:
        raise InputError(f"--slices is {slices}; it must be at least 1")
    if slices > 1 and device.network_bandwidth is None:
        raise InputError(
            f"--slices is {slices}, but the rate of the network between slices of {generation} is "
            "not published; plan one slice"
        )
    return Topology(device, sizes, slices)


def compile_only_devices(topology: Topology) -> Sequence[jax.Device]:
    """Devices to compile for; nothing can run on them. The default backend stays the CPU's.

    Raises:
        InputError: libtpu is not installed, or knows no such shape.
    """
    if importlib.util.find_spec("libtpu") is None:
        raise InputError("planning compiles with libtpu; install it: pip install -e '.[tpu]'")
    # libtpu would ask the cloud which machine this is: it is none of them.
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
    os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
    os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-4")  # any: the topology decides
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")  # no chip to be locked
    jax.config.update("jax_platforms", "cpu")
    from jax.experimental import topologies

    generation, name = topology.device.name, topology.of_one_slice
    options: dict[str, Any] = {"num_slices": topology.slices} if topology.slices > 1 else {}
    if generation == "v4":  # two cores as one device, as on the machine itself
        options["chip_config_name"] = "megacore"
    try:
        return topologies.get_topology_desc(name, "tpu", **options).devices
    except jax.errors.JaxRuntimeError as error:
        if "INVALID_ARGUMENT" not in str(error):
            raise
        raise _unknown(name, [f"{generation}:{shape}" for shape in SHAPES[generation]]) from error


def larger(topology: Topology) -> list[Topology]:
    """Usual slices with more chips, the smallest first; then more slices of the largest."""
    device = topology.device
    shapes = [tuple(map(int, shape.split("x"))) for shape in SHAPES[device.name]]
    found = [Topology(device, shape) for shape in shapes]
    if device.network_bandwidth is not None:
        found += [Topology(device, shapes[-1], slices) for slices in (2, 4, 8)]
    enough = [one for one in found if one.num_chips > topology.num_chips]
    return sorted(enough, key=lambda one: one.num_chips)


def _unknown(name: str, known: Sequence[str]) -> InputError:
    nearest = (difflib.get_close_matches(name, known, n=1, cutoff=0.0) or [known[-1]])[0]
    generation = nearest.partition(":")[0]
    return InputError(
        f"unknown topology {name!r}; did you mean {nearest!r}? Generations: {', '.join(SHAPES)}; "
        f"{generation} comes as {', '.join(SHAPES[generation])}"
    )
