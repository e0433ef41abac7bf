import dataclasses

import jax
import pytest

from flaxformers_edu.errors import InputError
from flaxformers_edu.sharding import MeshShape
from train.placement import check_rows, rows_of_process


@dataclasses.dataclass(frozen=True)
class Device:
    id: int
    process_index: int


@pytest.mark.parametrize(
    ("row_of_device", "parts"),
    [
        ([0, 1, 2, 3], [(0, 2), (1, 2)]),  # data 4: half of the rows each
        ([0, 0, 1, 1], [(0, 2), (1, 2)]),  # data 2, tensor 2 within a process
        ([0, 0, 0, 0], [(0, 1), (0, 1)]),  # tensor 4 across processes: both hold all rows
        ([0, 1, 0, 1], [(0, 1), (0, 1)]),  # data 2, tensor 2 across processes
        ([0, 2, 1, 3], [(0, 2), (1, 2)]),  # a torus may interleave them
    ],
)
def test_each_process_holds_the_rows_of_its_devices(monkeypatch, row_of_device, parts):
    number = max(row_of_device) + 1
    rows = {Device(i, i // 2): (slice(r, r + 1),) for i, r in enumerate(row_of_device)}
    lying = type("Sharding", (), {"devices_indices_map": lambda self, shape: rows})()
    monkeypatch.setattr("train.placement.batch_sharding", lambda _: lying)
    monkeypatch.setattr("train.placement.rows_multiple", lambda _: number)
    for process in (0, 1):
        monkeypatch.setattr(jax, "process_index", lambda process=process: process)
        assert rows_of_process(None) == parts[process]


def test_rows_that_do_not_divide_among_processes_are_refused(monkeypatch):
    rows = {Device(i, i // 2): (slice(r, r + 1),) for i, r in enumerate([0, 1, 1, 2])}
    lying = type("Sharding", (), {"devices_indices_map": lambda self, shape: rows})()
    monkeypatch.setattr("train.placement.batch_sharding", lambda _: lying)
    monkeypatch.setattr("train.placement.rows_multiple", lambda _: 3)
    with pytest.raises(InputError, match="unequal rows of a batch"):
        rows_of_process(None)


def test_batches_of_another_mesh_that_cannot_be_split_are_refused():
    mesh = MeshShape(data=4, fsdp=2).build()
    check_rows([(16, 64), (32, 32)], lambda rows: rows // 16, mesh)
    with pytest.raises(InputError, match=r"batches of 15 rows of 64 tokens, in 1 part.* = 8: "):
        check_rows([(16, 64), (15, 64)], lambda rows: 1, mesh)
    with pytest.raises(InputError, match=r"in 4 part.*where that divides 4"):
        check_rows([(16, 64)], lambda rows: 4, mesh)
