import threading
import time
from collections.abc import Callable
from typing import Any

import jax
import pytest

from flaxformers_edu.errors import InputError
from train import peers
from train.supervise import LOST


class Store:
    """jax's key-value store, in memory, for threads that play processes."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.changed = threading.Condition()

    def key_value_set(self, key: str, value: str, allow_overwrite: bool = False) -> None:
        with self.changed:
            assert allow_overwrite or key not in self.values, key
            self.values[key] = value
            self.changed.notify_all()

    def blocking_key_value_get(self, key: str, timeout_in_ms: int) -> str:
        with self.changed:
            if not self.changed.wait_for(lambda: key in self.values, min(timeout_in_ms / 1000, 10)):
                raise jax.errors.JaxRuntimeError("DEADLINE_EXCEEDED")
            return self.values[key]

    def wait_at_barrier(self, name: str, timeout_in_ms: int) -> None:
        key = f"barrier/{name}"
        with self.changed:
            self.values[key] = f"{int(self.values.get(key, 0)) + 1}"
            self.changed.notify_all()
            number = f"{peers.number()}"
            if not self.changed.wait_for(lambda: self.values[key] == number, timeout_in_ms / 1000):
                raise jax.errors.JaxRuntimeError("DEADLINE_EXCEEDED")

    def key_value_dir_get(self, folder: str) -> list[tuple[str, str]]:
        with self.changed:
            return [(k, v) for k, v in sorted(self.values.items()) if k.startswith(folder)]


class Counter:
    """Each thread counts for itself, as processes do."""

    def __init__(self) -> None:
        self.local = threading.local()

    def __next__(self) -> int:
        self.local.count = getattr(self.local, "count", -1) + 1
        return self.local.count


@pytest.fixture
def processes(monkeypatch):
    """Runs a function as so many processes; what each returned, or the error it raised."""
    local, store = threading.local(), Store()
    monkeypatch.setattr(peers, "_store", lambda: store)
    monkeypatch.setattr(peers, "_serial", Counter())
    monkeypatch.setattr(peers, "index", lambda: local.index)

    def run(number: int, work: Callable[[int], Any]) -> list[Any]:
        monkeypatch.setattr(peers, "number", lambda: number)
        store.values.clear()
        results: list[Any] = [None] * number

        def one(i: int) -> None:
            local.index = i
            store.key_value_set(f"host/{i}", f"host{i}", True)
            try:
                results[i] = work(i)
            except Exception as error:
                results[i] = error

        threads = [threading.Thread(target=one, args=(i,)) for i in range(number)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        return results

    run.store = store
    return run


def test_process_0_decides_and_all_know(processes):
    def work(i):
        first = peers.first_decides(lambda: {"by": i, "pi": 0.1 + 0.2})
        second = peers.first_judges(10 * i, sum)
        peers.meet()
        return first, second

    assert processes(3, work) == [({"by": 0, "pi": 0.1 + 0.2}, 30)] * 3


@pytest.mark.parametrize("kind", [InputError, OSError])
def test_an_error_of_process_0_is_everybodys(processes, kind):
    def decide():
        raise kind("the disk is gone")

    errors = processes(3, lambda i: peers.first_decides(decide))
    assert [type(e) for e in errors] == [kind] * 3
    assert {str(e) for e in errors} == {"the disk is gone"}


def test_the_first_difference_is_named_in_all(processes):
    def work(i):
        peers.check_versions_and({"seed": 1, "model": {"size": 16 if i < 2 else 32}})

    errors = processes(3, work)
    assert {type(e) for e in errors} == {InputError}
    (text,) = {str(e) for e in errors}
    assert "experiment.model.size is 16 in process 0 (host0) and 32 in process 2 (host2)" in text
    assert processes(2, lambda i: peers.check_same({"same": [1]})) == [None, None]


def test_a_folder_of_ones_own(processes, tmp_path, monkeypatch):
    monkeypatch.setattr(peers, "SEEN_WITHIN", 0.2)

    def work(i):
        peers.check_shared(tmp_path / ("ours" if i < 2 else "mine") / "run")

    errors = processes(3, work)
    assert all("process 2 (host2) does not see what process 0 (host0)" in str(e) for e in errors)
    assert list(tmp_path.iterdir()) == []
    assert processes(2, lambda i: peers.check_shared(tmp_path / "new")) == [None, None]
    assert list(tmp_path.iterdir()) == []


def test_the_silent_one_is_named(processes):
    """Process 1 stops giving signs of life; process 0 notices, and says so."""

    def work(i):
        seen = {j: ("", time.monotonic()) for j in range(3)}
        for count in range(8 if i != 1 else 2):
            peers._look(count, seen, 0.3)
            time.sleep(0.1)

    assert processes(3, work) == [None] * 3
    (fault,) = processes.store.key_value_dir_get("fault/")
    assert fault[1] == "process 1 (host1) died or hangs (silent for 0.3 s)"


def test_one_that_leaves_says_why(processes, monkeypatch):
    monkeypatch.setattr(peers, "_beat", 0.05)
    assert processes(3, lambda i: peers.tell("the disk is full") if i == 2 else None) == [None] * 3
    faults = processes.store.key_value_dir_get("fault/")
    assert faults == [("fault/2", "process 2 (host2) ended: the disk is full")]


def test_who_all_leave_for_one_reason_have_nobody_to_tell(processes, monkeypatch):
    monkeypatch.setattr(peers, "_beat", 0.5)  # they come together within two seconds
    assert processes(3, lambda _: peers.tell("the mesh does not multiply")) == [None] * 3
    assert processes.store.key_value_dir_get("fault/") == []


def test_a_fault_ends_those_who_hear_of_it(processes, monkeypatch, capsys):
    class Left(Exception):
        pass

    def leave(status: int) -> None:
        raise Left(status)

    monkeypatch.setattr(peers.os, "_exit", leave)
    monkeypatch.setattr(peers, "_beat", 0.05)
    peers._watching.set()

    def work(i):
        if i == 2:
            peers._store().key_value_set("fault/2", "process 2 (host2) ended: the disk is full")
            return
        time.sleep(0.2)
        peers._look(0, {j: ("", time.monotonic()) for j in range(3)}, 10)

    first, second, _ = processes(3, work)
    peers.end_watch()
    assert [type(first), type(second)] == [Left, Left] and first.args == (LOST,)
    said = capsys.readouterr().err
    assert said.count("error: process 2 (host2) ended: the disk is full; stopping, and a rest") == 2
