"""A process of a run of many, watched from outside.

JAX's distributed runtime ends a process by abort() when it cannot reach the coordinator: nothing in
the process can catch that, and what it leaves is a C++ stack trace. So the work is done in a child,
and this parent, which needs no JAX, passes signals on, keeps the trace to itself, and says in one
line what happened. If the parent dies, the kernel kills the child with it (Linux).
"""

import ctypes
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from types import FrameType
from typing import IO

LOST = 4
"""Exit status where another process of the run died, or the coordinator cannot be reached."""
CHILD = "FLAXFORMERS_EDU_SUPERVISED"
"""Set in the environment of the child."""
FATAL = "JAX distributed service detected fatal errors"
"""What the runtime says before it aborts; the reason and a stack trace follow."""
NOISE = re.compile(r"[IWE]\d{4} .*coordination_service")
"""Begins a message of the runtime, of several lines, that says less clearly what we say."""
OURS = re.compile(r"error: |Traceback|[IWEF]\d{4} ")
"""Begins whatever follows such a message."""
PR_SET_PDEATHSIG = 1


def is_wanted(arguments: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Whether these are the arguments of one process among many, and nobody watches it yet."""
    named = any(argument.partition("=")[0] == "--coordinator" for argument in arguments)
    is_help = "--help" in arguments or "-h" in arguments
    return (named or bool(cluster(environment))) and not is_help and CHILD not in environment


def cluster(environment: Mapping[str, str]) -> str:
    """The cluster that says, by its variables, that this is one of several processes; or ""."""
    if int(environment.get("SLURM_NTASKS", "1")) > 1 and "SLURM_STEP_NODELIST" in environment:
        return "Slurm"
    if int(environment.get("OMPI_COMM_WORLD_SIZE", "1")) > 1:
        return "Open MPI"
    if int(environment.get("MEGASCALE_NUM_SLICES", "1")) > 1:
        return "Cloud TPU"
    if "," in environment.get("TPU_WORKER_HOSTNAMES", ""):
        return "Cloud TPU"
    return ""


def supervise() -> int:
    """Runs this same command in a child, and ends as it ends.

    Returns:
        The child's exit status; LOST where the runtime aborted because processes are gone, 2 where
        they never came together; 128 + the number of the signal that killed the child.
    """
    child = subprocess.Popen(
        [sys.executable, *sys.orig_argv[1:]],
        env={**os.environ, CHILD: str(os.getpid())},
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        # A session of its own: Ctrl-C reaches the child once, through us.
        start_new_session=True,
        preexec_fn=_die_with_parent,
    )

    def pass_on(number: int, frame: FrameType | None) -> None:
        if child.poll() is None:
            child.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, pass_on)
    assert child.stderr is not None
    reason = relay(child.stderr, sys.stderr)
    status = child.wait()
    if status == -signal.SIGABRT and reason:
        message, status = explain(reason, coordinator_of(sys.argv))
        print(f"error: {message}", file=sys.stderr)
    elif status < 0:
        name = signal.Signals(-status).name
        hint = " (out of memory?)" if status == -signal.SIGKILL else ""
        print(f"error: this process was killed by {name}{hint}", file=sys.stderr)
        status = 128 - status
    return status


def relay(lines: Iterable[str], out: IO[str]) -> str:
    """Copies lines until the runtime announces its abort; gives that announcement, or ""."""
    reason: list[str] = []
    in_noise = False
    for line in lines:
        if reason or FATAL in line:
            reason.append(line)
            continue
        in_noise = bool(NOISE.match(line)) or (in_noise and not OURS.match(line))
        if not in_noise:
            out.write(line)
            out.flush()
    return "".join(reason).partition("*** Check failure")[0]


def coordinator_of(arguments: Sequence[str]) -> str:
    """The value of --coordinator, or how we call it where there is none."""
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        name, equals, value = argument.partition("=")
        if name == "--coordinator":
            return value if equals else following
    return "the coordinator"


def explain(reason: str, coordinator: str) -> tuple[str, int]:
    """One line, and an exit status, for what the runtime said before it aborted."""
    if "RegisterTask" in reason:
        return (
            f"the processes of the run did not all meet at {coordinator} within --start-timeout: "
            "check that all --of are running, each with its own --process, and that they can reach "
            "that host and port",
            2,
        )
    if "ShutdownTask" in reason:
        return "a process died at the end of the run: it did not leave with the others", LOST
    unhealthy = reason.partition("stopped sending heartbeats):")[2].split()
    dead = [word for word in unhealthy[:8] if word.isdecimal()]
    if dead:
        return f"process {', '.join(dead)} died or hangs; stopping", LOST
    return (
        f"process 0 ({coordinator}), which coordinates the run, died or cannot be reached; "
        "stopping, and a restart goes on from the newest checkpoint",
        LOST,
    )


def _die_with_parent() -> None:
    """In the child, before it becomes the command."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
