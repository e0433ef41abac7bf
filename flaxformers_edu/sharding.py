"""The only file that knows meshes: axes, the two tables of rules, and `shard`.

Parameters and activations carry logical axis names; two tables map them to mesh axes. Parameters
are split over `fsdp` along their hidden axis (ZeRO-3) and over `tensor` along heads, intermediate
size and vocabulary; activations over `data` and `fsdp` along the batch, and over `sequence` along
the length. Between the parts of a block, where every device of `tensor` would keep the same, the
positions are split over `tensor` too (`residual`; Korthikanti et al. 2022, section 4.2.2). The
steps of a recurrent layer wait for each other, and to split their products would exchange something
in each: there the batch is split over all axes (`rows`).
"""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

from flaxformers_edu.errors import InputError

AXES = ("data", "fsdp", "tensor", "sequence")

PARAMETER_RULES: dict[str, str | None] = {
    "vocab": "tensor",
    "embed": "fsdp",
    "heads": "tensor",
    "kv_heads": "tensor",
    "mlp": "tensor",
    "head_dim": None,
    "gates": None,
    "positions": None,
    "token_types": None,
    "features": None,
    "labels": None,
    "norm": None,
    "layers": None,
}

ACTIVATION_RULES: dict[str, str | tuple[str, ...] | None] = {
    "batch": ("data", "fsdp"),
    "rows": AXES,
    "length": "sequence",
    "residual": ("sequence", "tensor"),
    "kv_length": None,
    "embed": None,
    "heads": "tensor",
    "kv_heads": "tensor",
    "head_dim": None,
    "mlp": "tensor",
    "vocab": "tensor",
    "positions": None,
    "token_types": None,
}


CONFIG_FIELDS = {
    "vocab": "vocab_size",
    "embed": "hidden_size",
    "heads": "num_heads",
    "mlp": "intermediate_size",
}
"""What a config calls the size of a logical axis, for messages."""


@dataclasses.dataclass(frozen=True)
class MeshShape:
    """How the devices are arranged; -1 on one axis means all the rest."""

    data: int = -1
    """Data parallelism: copies of the parameters, each with its part of the batch."""
    fsdp: int = 1
    """Fully sharded data parallelism: parameters and optimiser split along their hidden axis."""
    tensor: int = 1
    """Tensor parallelism: heads, intermediate size and vocabulary split."""
    sequence: int = 1
    """Sequence parallelism: activations split along the sequence."""
    slices: int = -1
    """TPU slices (or GPU nodes) that share `data`, its outermost part: only sums of gradients cross
    the slow network between them. -1: as many as the devices say that there are."""

    def build(self, devices: Sequence[Any] | None = None) -> Mesh:
        """The mesh over `devices` (default: all), which may be those of a compile-only topology.

        Neighbours on the inner axes are neighbours in the machine (`mesh_utils`); a physical axis
        of a torus is split among two axes of the mesh only where nothing else fits.

        Raises:
            InputError: sizes that do not multiply to the number of devices, or slices that do not
                share `data` evenly or are not those of the machine.
        """
        devices = jax.devices() if devices is None else list(devices)
        sizes = self._sizes(len(devices))
        groups = self._slices(devices)
        if sizes[0] % len(groups):
            raise InputError(
                f"mesh.data {sizes[0]} does not divide over {len(groups)} slices, and data alone "
                f"goes across slices; give mesh.data a multiple of {len(groups)}"
            )
        inside = (sizes[0] // len(groups), *sizes[1:])
        meshes = [
            mesh_utils.create_device_mesh(inside, group, allow_split_physical_axes=True)
            for group in groups
        ]
        return Mesh(np.concatenate(meshes), AXES, axis_types=(AxisType.Auto,) * len(AXES))

    def _sizes(self, num_devices: int) -> list[int]:
        """The size of each axis, -1 filled in."""
        sizes = [getattr(self, axis) for axis in AXES]
        for name in (*AXES, "slices"):
            size = getattr(self, name)
            if size < 1 and size != -1:
                raise InputError(f"mesh.{name} is {size}; give a positive size, or -1 for the rest")
        if sizes.count(-1) > 1:
            raise InputError("only one mesh axis can be -1 (the rest of the devices)")
        known = math.prod(size for size in sizes if size != -1)
        if -1 in sizes and num_devices % known == 0:
            sizes[sizes.index(-1)] = num_devices // known
        if math.prod(sizes) != num_devices:
            shape = " x ".join(f"{axis} {getattr(self, axis)}" for axis in AXES)
            raise InputError(f"the mesh {shape} does not multiply to {num_devices} devices")
        return sizes

    def _slices(self, devices: Sequence[Any]) -> list[Sequence[Any]]:
        """The devices of each slice; off TPU any even division in the order of the processes."""

        def place(device: Any) -> tuple[int, int, int]:
            return (getattr(device, "slice_index", 0) or 0, device.process_index, device.id)

        devices = sorted(devices, key=place)
        found = len({place(device)[0] for device in devices})
        number = found if self.slices == -1 else self.slices
        if number != found and devices[0].platform == "tpu":
            raise InputError(f"mesh.slices is {number}, but the devices lie in {found} slice(s)")
        if len(devices) % number:
            raise InputError(f"mesh.slices {number} does not divide {len(devices)} devices")
        size = len(devices) // number
        return [devices[i * size : (i + 1) * size] for i in range(number)]


def platform() -> str:
    """The platform of the mesh in force ("cpu", "gpu", "tpu"); without one, the default backend.

    A program for a TPU topology is compiled on a machine whose own backend is another.
    """
    device = jax.sharding.get_abstract_mesh().abstract_device
    return jax.default_backend() if device is None else device.platform


def activation_spec(names: Sequence[str | None], shape: Sequence[int]) -> PartitionSpec | None:
    """How an activation lies on the mesh in force; None without a mesh of several devices.

    An axis that does not divide stays whole: one row to decode, one query at a time.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.axis_names != AXES or mesh.size == 1:  # `pmap` brings a mesh of its own
        return None
    axes = [name and ACTIVATION_RULES[name] for name in names]
    spec = (_dividing(axis, size, mesh.shape) for axis, size in zip(axes, shape, strict=True))
    return PartitionSpec(*spec)


def shard(x: Array, names: Sequence[str | None]) -> Array:
    """Constrains an activation's layout on the mesh in force (`jax.set_mesh`); without one, x."""
    spec = activation_spec(names, x.shape)
    return x if spec is None else jax.lax.with_sharding_constraint(x, spec)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """How a batch's rows lie on the mesh."""
    return NamedSharding(mesh, PartitionSpec(ACTIVATION_RULES["batch"]))


def parameter_shardings(boxed: Any, mesh: Mesh | AbstractMesh) -> Any:
    """Shardings of a tree of parameters, from the logical names that the modules gave them.

    `boxed` is what `jax.eval_shape` of a module's `init` returns, still with its names. Key/value
    heads that do not divide, being fewer than the others, stay whole: each device keeps all.

    Raises:
        InputError: any other axis that does not divide over its mesh axis, with what would.
    """

    def one(path: Any, leaf: Any) -> NamedSharding:
        if not has_names(leaf):
            return NamedSharding(mesh, PartitionSpec())
        shape = jax.eval_shape(lambda: nn.meta.unbox(leaf)).shape
        spec = []
        for name, size in zip(leaf.names, shape, strict=True):
            axis = PARAMETER_RULES[name]
            parts = mesh.shape[axis] if axis else 1
            if size % parts and name == "kv_heads":
                axis = None
            elif size % parts:
                parameter = jax.tree_util.keystr(path, simple=True, separator="/")
                field = CONFIG_FIELDS.get(name, name)
                raise InputError(
                    f"model.{field} {size} does not divide over mesh.{axis} {parts}: "
                    f"{field} {-(-size // parts) * parts} does, or mesh.{axis} "
                    f"{math.gcd(size, parts)} (parameter {parameter})"
                )
            spec.append(axis)
        return NamedSharding(mesh, PartitionSpec(*spec))

    def has_names(leaf: Any) -> bool:
        return isinstance(leaf, nn.LogicallyPartitioned)

    return jax.tree_util.tree_map_with_path(one, boxed, is_leaf=has_names)


def check_lengths(lengths: Iterable[int], mesh: Mesh | AbstractMesh) -> None:
    """Raises InputError for a row length that does not divide over the axis `sequence`."""
    parts = mesh.shape["sequence"]
    for length in lengths:
        if length % parts:
            raise InputError(
                f"rows of {length} tokens do not divide over mesh.sequence {parts}: make "
                f"batching.bucket_multiple and the maximum lengths multiples of {parts}"
            )


def _dividing(axis: str | tuple[str, ...] | None, size: int, mesh: Any) -> Any:
    """The mesh axes that the dimension divides over: from the first, as many as it does."""
    axes = () if axis is None else (axis,) if isinstance(axis, str) else axis
    while axes and size % math.prod(mesh[name] for name in axes):
        axes = axes[:-1]
    return axes[0] if len(axes) == 1 else axes or None
