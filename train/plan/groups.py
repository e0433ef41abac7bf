"""Which devices take part in a collective: `replica_groups` in its spellings."""

import math
import re

import numpy as np

from train.plan.hlo import Instruction

Group = tuple[int, ...]

_PAIRS = re.compile(r"source_target_pairs=\{(.*?\})\}")
_LISTED = re.compile(r"replica_groups=\{(\{.*?\})\}")
_COUNTED = re.compile(r"replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?")
_BY_AXES = re.compile(
    r"replica_groups=mesh\[([^\]]*)\]"
    r"(?:, device_ids=\(\[([\d,]+)\](?:T\(([\d,]+)\))?\))? \{([^}]*)\}"
)


def groups_of(instruction: Instruction, num_devices: int) -> tuple[Group, ...]:
    """The groups of a collective, as positions in the mesh's order; pairs for a permutation.

    Spelled out, `{{0,2},{1,3}}`; as rows of a transposed count, `[2,2]<=[2,2]T(1,0)`; as axes of
    a mesh, `mesh['a'=2,'b'=2] {'b'}`; or empty, `{}`: all devices in one group.

    Raises ValueError for a spelling that is none of these.
    """
    text = instruction.attributes
    if found := _PAIRS.search(text) or _LISTED.search(text):
        return tuple(_numbers(group) for group in re.findall(r"\{([\d,]*)\}", found[1]))
    if found := _COUNTED.search(text):
        rows = _numbers(found[1])
        return _rows(_count(_numbers(found[2]), found[3]).reshape(rows[0], -1))
    if found := _BY_AXES.search(text):
        return _by_axes(*found.groups())
    if "replica_groups" in text and "replica_groups={}" not in text:
        raise ValueError(f"replica groups in an unknown spelling: {text[:200]}")
    return (tuple(range(num_devices)),)


def _by_axes(mesh: str, dims: str | None, order: str | None, chosen: str) -> tuple[Group, ...]:
    """Devices that differ along the chosen axes only; `'a':(2)4` is a part of one: 4 after 2."""
    sizes = {name: int(size) for name, size in re.findall(r"'([^']+)'=(\d+)", mesh)}
    parts = {name: [size] for name, size in sizes.items()}
    inside = []
    for name, before, size in re.findall(r"'([^']+)'(?::\((\d+)\)(\d+))?", chosen):
        if size:
            parts[name] = [int(before), int(size), sizes[name] // int(before) // int(size)]
        inside.append((name, 1 if size else 0))
    axes = [(name, i) for name, split in parts.items() for i in range(len(split))]
    shape = [size for split in parts.values() for size in split]
    ids = _count(_numbers(dims) or (math.prod(shape),), order).reshape(shape)
    last = [axes.index(axis) for axis in inside]
    first = [d for d in range(len(axes)) if d not in last]
    members = math.prod(shape[d] for d in last)
    return _rows(ids.transpose(first + last).reshape(-1, members))


def _count(dims: Group, order: str | None) -> np.ndarray:
    """0, 1, 2, ... in that shape, with its axes in that order."""
    ids = np.arange(math.prod(dims)).reshape(dims)
    return ids.transpose(_numbers(order)) if order else ids


def _rows(ids: np.ndarray) -> tuple[Group, ...]:
    return tuple(tuple(int(i) for i in row) for row in ids)


def _numbers(text: str | None) -> Group:
    return tuple(int(n) for n in (text or "").split(",") if n)
