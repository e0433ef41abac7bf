"""Weights as parameters: each leaf is cut out of the files for each device, one after the other."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding
from jaxtyping import Array

from flaxformers_edu.interop.matching import Match

Index = tuple[slice, ...]


def place_leaf(
    match: Match, tensors: Mapping[str, np.ndarray], sharding: NamedSharding | None
) -> Array:
    """The leaf as float32, whole on the default device or in shards.

    Only the part that a device keeps is read for it, once for all that keep the same.
    """
    views = [match.form.to_ours(tensors[name], match.shape) for name in match.names]
    shape = (len(views), *match.shape) if match.stacked else match.shape

    def read(index: Index) -> np.ndarray:
        if not match.stacked:
            return np.array(views[0][index], np.float32, order="C")
        layers, *rest = index
        chosen = views[layers]
        sizes = (len(range(n)[s]) for s, n in zip(rest, match.shape, strict=True))
        part: np.ndarray = np.empty((len(chosen), *sizes), np.float32)
        for i, view in enumerate(chosen):
            part[i] = view[tuple(rest)]
        return part

    if sharding is None:
        return jax.device_put(read((slice(None),) * len(shape)))
    return _sharded(read, shape, sharding)


def _sharded(
    read: Callable[[Index], np.ndarray], shape: tuple[int, ...], sharding: NamedSharding
) -> Array:
    """Like `jax.make_array_from_callback`, which would hold the parts of all devices at once."""
    holders: dict[Any, list[Any]] = {}
    for device, index in sharding.addressable_devices_indices_map(shape).items():
        assert index is not None
        bounds = tuple(s.indices(n) for s, n in zip(index, shape, strict=True))
        holders.setdefault(bounds, []).append(device)
    shards = []
    for bounds, devices in holders.items():
        part = read(tuple(slice(*b) for b in bounds))
        shards += [jax.device_put(part, device) for device in devices]
        jax.block_until_ready(shards[-len(devices) :])
    return jax.make_array_from_single_device_arrays(shape, sharding, shards)
