"""How the processes of a run find each other, and how they part.

    python -m train run CONFIG --workdir DIR --coordinator host:port --process 0 --of 2
    python -m train run CONFIG --workdir DIR --coordinator host:port --process 1 --of 2

On a cluster, `--coordinator auto` asks jax's own detection: Slurm, Open MPI, Kubernetes, Cloud TPU.
docs/hosts.md has a recipe for each.
"""

import contextlib
import dataclasses
import os
import traceback
from collections.abc import Iterator
from typing import Any

import jax

from flaxformers_edu.errors import InputError
from train import peers
from train.supervise import cluster


@dataclasses.dataclass(frozen=True)
class Launch:
    """Which of how many processes this is."""

    coordinator: str = ""
    """host:port where process 0 is to listen, the same for all processes; auto: what the cluster
    says (Slurm, Open MPI, Kubernetes, Cloud TPU), and the default in a Slurm step of several tasks,
    in an MPI job and on a TPU slice of several hosts."""
    process: int | None = None
    """Number of this process, from 0; with --coordinator host:port."""
    of: int | None = None
    """How many processes there are; with --coordinator host:port."""
    start_timeout: int = 300
    """Seconds to wait until all processes have met."""
    dead_after: int = 60
    """Seconds of silence after which a process counts as dead, and all others stop (status 4)."""

    def __post_init__(self) -> None:
        """Raises InputError for values that do not belong together."""
        for name in ("start_timeout", "dead_after"):
            if getattr(self, name) < 1:
                option = name.replace("_", "-")
                raise InputError(f"--{option} is {getattr(self, name)}; it must be at least 1")
        if self.coordinator in ("", "auto"):
            if self.process is not None or self.of is not None:
                raise InputError("--process and --of go with --coordinator host:port")
            return
        host, _, port = self.coordinator.rpartition(":")
        if not (host and port.isdecimal() and 0 < int(port) < 2**16):
            raise InputError(f"--coordinator is {self.coordinator!r}; it must be host:port or auto")
        if self.process is None or self.of is None:
            raise InputError("--coordinator host:port needs --process i --of n")
        if not 0 <= self.process < self.of:
            raise InputError(
                f"--process is {self.process} and --of is {self.of}; processes are numbered "
                f"from 0 to {self.of - 1}"
            )


@contextlib.contextmanager
def joined(launch: Launch) -> Iterator[None]:
    """Within, this process is one of those that `launch` describes; alone, nothing happens.

    Raises:
        InputError: the processes cannot be brought together. Where the runtime itself gives up
            waiting it aborts the process; `train/supervise.py` turns that into a line.
    """
    coordinator = launch.coordinator or ("auto" if cluster(os.environ) else "")
    if not coordinator:
        yield
        return
    _initialize(launch, coordinator)
    peers.begin_watch(launch.dead_after)
    try:
        yield
    except (InputError, OSError, KeyboardInterrupt) as error:
        peers.tell(str(error) or "interrupted")
        raise
    except BaseException as error:
        if isinstance(error, jax.errors.JaxRuntimeError):
            peers.wait_for_verdict(launch.dead_after)
        peers.tell(f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}")
        traceback.print_exc()
        os._exit(1)  # no hooks at exit: jax's would wait for the others
    peers.first_decides(lambda: None)  # process 0 has the report to draw; the others wait for it
    peers.end_watch()
    jax.distributed.shutdown()


def _initialize(launch: Launch, coordinator: str) -> None:
    """Waits for all processes: nothing else of jax may have been used before."""
    timeouts: dict[str, Any] = {
        "initialization_timeout": launch.start_timeout,
        "shutdown_timeout_seconds": launch.dead_after,
        # Our own watch, which names the host too, is to come first. The runtime beats every half of
        # its time-out, so that it may notice a death after no more than half of it.
        "heartbeat_timeout_seconds": 3 * launch.dead_after,
    }
    try:
        if coordinator == "auto":
            jax.distributed.initialize(**timeouts)
        else:
            jax.distributed.initialize(
                coordinator,
                launch.of,
                launch.process,
                cluster_detection_method="deactivate",
                **timeouts,
            )
    except ValueError as error:
        raise InputError(
            f"--coordinator auto found no cluster ({error}); give --coordinator host:port "
            "--process i --of n"
        ) from error
    except RuntimeError as error:
        lines = str(error).strip().splitlines()
        raise InputError(f"no coordinator at {coordinator}: {lines[0]}") from error
