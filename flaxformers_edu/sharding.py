"""The only file that knows meshes: axes, the two tables of rules, and `shard`.

Parameters and activations carry logical axis names; two tables map them to mesh axes. Parameters
are split over `fsdp` along their hidden axis (ZeRO-3) and over `tensor` along heads, intermediate
size and vocabulary; activations over `data` and `fsdp` along the batch.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
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
    "positions": None,
    "norm": None,
    "layers": None,
}

ACTIVATION_RULES: dict[str, str | tuple[str, ...] | None] = {
    "batch": ("data", "fsdp"),
    "length": "sequence",
    "kv_length": None,
    "embed": None,
    "heads": "tensor",
    "kv_heads": "tensor",
    "head_dim": None,
    "mlp": "tensor",
    "vocab": "tensor",
}


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

    def build(self, devices: Sequence[jax.Device] | None = None) -> Mesh:
        """The mesh over `devices` (default: all).

        Raises:
            InputError: sizes that do not multiply to the number of devices.
        """
        devices = jax.devices() if devices is None else list(devices)
        sizes = [getattr(self, axis) for axis in AXES]
        for axis, size in zip(AXES, sizes, strict=True):
            if size < 1 and size != -1:
                raise InputError(f"mesh.{axis} is {size}; give a positive size, or -1 for the rest")
        if sizes.count(-1) > 1:
            raise InputError("only one mesh axis can be -1 (the rest of the devices)")
        known = math.prod(size for size in sizes if size != -1)
        if -1 in sizes and len(devices) % known == 0:
            sizes[sizes.index(-1)] = len(devices) // known
        if math.prod(sizes) != len(devices):
            shape = " x ".join(f"{axis} {getattr(self, axis)}" for axis in AXES)
            raise InputError(f"the mesh {shape} does not multiply to {len(devices)} devices")
        return jax.make_mesh(
            tuple(sizes), AXES, axis_types=(AxisType.Auto,) * len(AXES), devices=devices
        )


def shard(x: Array, names: Sequence[str]) -> Array:
    """Constrains an activation's layout on the mesh in force (`jax.set_mesh`); without one, x."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return x
    axes = [ACTIVATION_RULES[name] for name in names]
    spec = [_dividing(axis, size, mesh.shape) for axis, size in zip(axes, x.shape, strict=True)]
    return jax.lax.with_sharding_constraint(x, PartitionSpec(*spec))


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """How a batch's rows lie on the mesh."""
    return NamedSharding(mesh, PartitionSpec(ACTIVATION_RULES["batch"]))


def parameter_shardings(boxed: Any, mesh: Mesh) -> Any:
    """Shardings of a tree of parameters, from the logical names that the modules gave them.

    `boxed` is what `jax.eval_shape` of a module's `init` returns, still with its names. An axis
    that does not divide over its mesh axis stays whole.
    """

    def one(leaf: Any) -> NamedSharding:
        names: Any = leaf.names if isinstance(leaf, nn.LogicallyPartitioned) else ()
        shape = jax.eval_shape(lambda: nn.meta.unbox(leaf)).shape if names else ()
        axes = [PARAMETER_RULES[name] for name in names]
        spec = [_dividing(axis, size, mesh.shape) for axis, size in zip(axes, shape, strict=True)]
        return NamedSharding(mesh, PartitionSpec(*spec))

    return jax.tree.map(one, boxed, is_leaf=lambda x: isinstance(x, nn.LogicallyPartitioned))


def _dividing(axis: str | tuple[str, ...] | None, size: int, mesh: Any) -> Any:
    """The mesh axis, or None where the dimension does not divide over it."""
    if axis is None:
        return None
    parts = math.prod(mesh[name] for name in ((axis,) if isinstance(axis, str) else axis))
    return axis if size % parts == 0 else None
