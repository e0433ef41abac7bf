"""What the processes of a run tell each other beside their arrays, and how they notice a death.

It goes over the key-value store of jax's distributed runtime, which works before any backend is
started and needs no collective: a collective with a dead process fails or never ends. Alone, every
function here is a plain call.

Process 0 decides whatever depends on the file system, and all take its word: two hosts may see a
shared folder at different moments.
"""

import contextlib
import itertools
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import jax

# The key-value store has no public name; orbax takes it from here too.
from jax._src import distributed

import flaxformers_edu
from flaxformers_edu.errors import InputError
from train.saved import differences
from train.supervise import LOST

T = TypeVar("T")

A_DAY = 24 * 60 * 60 * 1000
"""Milliseconds to wait for another process: whether it lives is the watch's business."""
SEEN_WITHIN = 10.0
"""Seconds in which a file of one host must show on the others: network file systems cache."""

_serial = itertools.count()
_watching = threading.Event()
_beat = 0.0


def index() -> int:
    """This process's number; 0 for one that is alone. Starts no backend."""
    return distributed.global_state.process_id


def number() -> int:
    """How many processes the run has. Starts no backend."""
    return distributed.global_state.num_processes


def first_decides(decide: Callable[[], T]) -> T:
    """What process 0 finds, in all: a JSON value, or the InputError or OSError that it meets.

    All processes must call this at the same points of the run.
    """
    if number() == 1:
        return decide()
    key = f"decided/{next(_serial)}"
    if index() == 0:
        said: dict[str, Any]
        try:
            said = {"value": decide()}
        except InputError as error:
            said = {"input_error": str(error)}
        except OSError as error:
            said = {"os_error": str(error)}
        _store().key_value_set(key, json.dumps(said))
    else:
        said = json.loads(_store().blocking_key_value_get(key, A_DAY))
    if "input_error" in said:
        raise InputError(said["input_error"])
    if "os_error" in said:
        raise OSError(said["os_error"])
    return said["value"]


def first_judges(value: Any, judge: Callable[[list[Any]], T]) -> T:
    """What process 0 makes of the values of all processes, in their order."""
    if number() == 1:
        return judge([value])
    key = f"heard/{next(_serial)}"
    _store().key_value_set(f"{key}/{index()}", json.dumps(value))

    def hear() -> T:
        keys = (f"{key}/{i}" for i in range(number()))
        return judge([json.loads(_store().blocking_key_value_get(k, A_DAY)) for k in keys])

    return first_decides(hear)


def meet() -> None:
    """Waits until all processes have come to this point."""
    first_judges(None, lambda _: None)


def check_same(values: dict[str, Any]) -> None:
    """Refuses processes that do not agree.

    Raises:
        InputError: in all of them, naming the first value and process that differ from process 0.
    """

    def judge(everyone: list[Any]) -> None:
        for i, theirs in enumerate(everyone):
            for path, first, other in differences(everyone[0], theirs):
                raise InputError(
                    f"the processes disagree: {path} is {first!r} in {_named(0)} and {other!r} in "
                    f"{_named(i)}; start all with the same command, code and data"
                )

    first_judges(values, judge)


def check_versions_and(experiment: Any) -> None:
    """Refuses processes with other code or, as JSON, another experiment: before compiling.

    Raises:
        InputError: in all of them.
    """
    versions = {"flaxformers_edu": flaxformers_edu.__version__, "jax": jax.__version__}
    check_same({"version": versions, "experiment": experiment})


def check_shared(folder: Path) -> None:
    """Refuses a folder that is not the same one for all: process 0 leaves a file for the others.

    Raises:
        InputError: in all processes, naming the first one that does not see it.
    """
    if number() == 1:
        return
    made = [f for f in (folder, *folder.parents) if not f.exists()] if index() == 0 else []

    def leave_token() -> str:
        name = f".shared-{os.getpid()}-{time.time_ns()}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
        return name

    token = folder / first_decides(leave_token)
    deadline = time.monotonic() + SEEN_WITHIN
    while not (sees := token.exists()) and time.monotonic() < deadline:
        time.sleep(0.05)

    def judge(everyone: list[bool]) -> None:
        token.unlink()
        for path in made:
            if not any(path.iterdir()):
                path.rmdir()
        if not all(everyone):
            raise InputError(
                f"{_named(everyone.index(False))} does not see what {_named(0)} writes to {folder}:"
                " give a --workdir that all hosts share"
            )

    first_judges(sees, judge)


def begin_watch(dead_after: float) -> None:
    """From now on, a process that gives no sign of life for `dead_after` seconds ends all.

    Each one writes a number that grows; process 0 looks at all of them and, if one stands still,
    says so to the others. They look at that only, so that the traffic grows with the processes and
    not with their square.
    """
    global _beat
    _beat = max(0.1, min(dead_after / 10, 2.0))
    _store().key_value_set(f"host/{index()}", socket.gethostname())
    _watching.set()
    threading.Thread(target=_watch, args=(dead_after,), name="watch", daemon=True).start()


def end_watch() -> None:
    """The run is over, or this process is about to leave it."""
    _watching.clear()


def tell(message: str) -> None:
    """Ends the other processes, which say why: this one leaves with an error of its own.

    If all have the same error, each is about to say so itself, and there is nobody to tell.
    """
    end_watch()
    try:
        _store().wait_at_barrier(f"leaving/{message[:80]}", int(4000 * _beat))
    except jax.errors.JaxRuntimeError:
        with contextlib.suppress(jax.errors.JaxRuntimeError):  # the store may be gone
            _store().key_value_set(f"fault/{index()}", f"{_named(index())} ended: {message}")
    _stay_for_others()


def wait_for_verdict(dead_after: float) -> None:
    """A collective failed: if another process died, the watch names it and ends this one."""
    time.sleep(dead_after + 5 * _beat)


def _watch(dead_after: float) -> None:
    """The watch's thread."""
    seen = {i: ("", time.monotonic()) for i in range(number())}
    for count in itertools.count():
        # Without the store the coordinator is gone, and the runtime about to end this process.
        with contextlib.suppress(jax.errors.JaxRuntimeError):
            _look(count, seen, dead_after)
        time.sleep(_beat)
        if not _watching.is_set():
            return


def _look(count: int, seen: dict[int, tuple[str, float]], dead_after: float) -> None:
    """Gives a sign of life, and looks for faults; `seen` has each process's last sign, and when."""
    store = _store()
    store.key_value_set(f"alive/{index()}", str(count), allow_overwrite=True)
    for _, message in store.key_value_dir_get("fault/")[:1]:
        if _watching.is_set():
            _leave(message)
    if index() == 0:
        now = time.monotonic()
        for key, value in store.key_value_dir_get("alive/"):
            i = int(key.rpartition("/")[2])
            if seen[i][0] != value:
                seen[i] = (value, now)
        dead = [i for i in seen if now - seen[i][1] > dead_after]
        if dead:
            names = ", ".join(_named(i) for i in dead[:8])
            verb = "died or hang" if len(dead) > 1 else "died or hangs"
            store.key_value_set(
                "fault/watch", f"{names} {verb} (silent for {dead_after:g} s)", True
            )


def _leave(message: str) -> None:
    """Ends this process at once: its main thread may sit in a collective for ever."""
    print(
        f"error: {message}; stopping, and a restart goes on from the newest checkpoint",
        file=sys.stderr,
        flush=True,
    )
    _stay_for_others()
    os._exit(LOST)


def _stay_for_others() -> None:
    """With process 0 goes the store, in which the others are yet to read why."""
    if index() == 0:
        time.sleep(3 * _beat)


def _named(i: int) -> str:
    """Process i and its host, if it came to say that."""
    try:
        return f"process {i} ({_store().blocking_key_value_get(f'host/{i}', 1000)})"
    except jax.errors.JaxRuntimeError:
        return f"process {i}"


def _store() -> Any:
    return distributed.global_state.client
