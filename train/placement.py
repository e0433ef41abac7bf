"""Batches on a mesh: which rows a process holds, how they get to the devices, and back."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np
from jax.experimental.multihost_utils import process_allgather
from jax.sharding import Mesh

from flaxformers_edu.errors import InputError
from flaxformers_edu.sharding import batch_sharding


def rows_multiple(mesh: Mesh) -> int:
    """What the rows of a batch must be a multiple of."""
    return mesh.shape["data"] * mesh.shape["fsdp"]


def rows_of_process(mesh: Mesh) -> tuple[int, int]:
    """Which part of a batch's rows this process holds, of how many parts: for TrainData.

    Processes share a part where an axis of the mesh other than the batch's runs across them.

    Raises:
        InputError: the rows of two processes overlap without being the same.
    """
    blocks: dict[int, set[int]] = {}
    everywhere: Any = batch_sharding(mesh).devices_indices_map((rows_multiple(mesh),))
    for device, (rows,) in everywhere.items():
        blocks.setdefault(device.process_index, set()).add(rows.indices(rows_multiple(mesh))[0])
    parts = sorted(set(map(frozenset, blocks.values())), key=min)
    if sum(map(len, parts)) != rows_multiple(mesh) or len(set(map(len, parts))) > 1:
        raise InputError(
            f"the mesh gives the processes unequal rows of a batch ({len(blocks)} processes, "
            f"mesh.data x mesh.fsdp = {rows_multiple(mesh)}): let one divide the other"
        )
    return parts.index(frozenset(blocks[jax.process_index()])), len(parts)


def check_rows(
    shapes: Iterable[tuple[int, int]], parts_of_rows: Callable[[int], int], mesh: Mesh
) -> None:
    """Refuses batches that were begun on another mesh and cannot be split over this one.

    Args:
        shapes: (rows, length) of the batches.
        parts_of_rows: rows of a batch -> the parts that are computed one after the other.
        mesh: over whose data and fsdp axes the rows of a part go.

    Raises:
        InputError: naming a batch that does not divide.
    """
    axes = rows_multiple(mesh)
    for rows, length in shapes:
        parts = parts_of_rows(rows)
        if rows % (axes * parts):
            raise InputError(
                f"this run's batches of {rows} rows of {length} tokens, in {parts} part(s), do not "
                f"divide over mesh.data x mesh.fsdp = {axes}: resume it on a mesh where that "
                f"divides {rows // parts}"
            )


def place(rows: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """A process's rows as part of the global batch on the mesh."""
    sharding = batch_sharding(mesh)
    return {k: jax.make_array_from_process_local_data(sharding, v) for k, v in rows.items()}


def place_whole(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """A batch that every process holds whole: each device takes its rows of it."""
    sharding = batch_sharding(mesh)
    return {
        name: jax.make_array_from_process_local_data(sharding, array, array.shape)
        for name, array in batch.items()
    }


def on_host(tree: Any) -> Any:
    """Arrays in the memory of every process, whichever devices hold their parts."""
    if jax.process_count() == 1:
        return jax.tree.map(np.asarray, tree)
    return process_allgather(tree, tiled=True)
