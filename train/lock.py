"""One process at a time trains in a folder: two would overwrite each other's checkpoints and log.

The system lets go of the lock when its process ends, however that ends, so that none is ever left
behind; a file that is left says nothing. Where the file system or the platform knows no locks,
nobody is refused.
"""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from flaxformers_edu.errors import InputError

try:
    import fcntl
except ImportError:  # there is none on Windows
    fcntl = None  # type: ignore[assignment]

LOCK = "lock"


def check_free(workdir: Path) -> None:
    """Raises InputError if a process trains in the folder now; writes nothing."""
    if (workdir / LOCK).exists():
        with contextlib.suppress(OSError), (workdir / LOCK).open("r+") as file:
            _take(file, workdir)


@contextlib.contextmanager
def held(workdir: Path) -> Iterator[None]:
    """Holds the folder, which is made if need be; an empty one is removed again.

    Raises:
        InputError: another process holds it.
        OSError: the folder cannot be made or written to.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    path = workdir / LOCK
    try:
        with path.open("a+") as file:
            _take(file, workdir)
            try:
                with contextlib.suppress(OSError):  # a full disk is what follows to find out
                    file.truncate(0)
                    file.write(f"process {os.getpid()} on {socket.gethostname()}")
                    file.flush()
                yield
            finally:
                path.unlink(missing_ok=True)
    finally:
        with contextlib.suppress(OSError):
            workdir.rmdir()


def _take(file: IO[str], workdir: Path) -> None:
    """Locks the file until it is closed; raises InputError if another process has."""
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        raise InputError(
            f"{workdir} is being trained in by {file.read() or 'another process'}: wait until it "
            "ends, or give another --workdir"
        ) from error
    except OSError:  # a file system without locks
        return
