"""Several processes of one run on this machine, over loopback: for tests and the chaos test."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.xla import QUICK_TO_COMPILE

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    """A port that nobody listens at now."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


class Fleet:
    """Starts `processes` of `python -m train run`, each with `devices` simulated devices."""

    def __init__(
        self,
        config: str,
        workdir: Path,
        *options: str,
        processes: int,
        devices: int,
        dead_after: int = 10,
        start_timeout: int = 60,
        own_options: tuple[tuple[str, ...], ...] = (),
    ) -> None:
        """`own_options[i]` are those of process i alone; a --workdir among them replaces ours."""
        self.dead_after = dead_after
        self.logs = [workdir.with_name(f"{workdir.name}.{i}.log") for i in range(processes)]
        where = f"127.0.0.1:{free_port()}"
        environment = {
            **os.environ,
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices} {QUICK_TO_COMPILE}",
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        self.processes: list[subprocess.Popen] = []
        for i, log in enumerate(self.logs):
            arguments = [config, "--workdir", str(workdir), *options]
            arguments += ["--coordinator", where, "--process", str(i), "--of", str(processes)]
            arguments += ["--dead-after", str(dead_after), "--start-timeout", str(start_timeout)]
            arguments += own_options[i] if own_options else ()
            with log.open("w", encoding="utf-8") as out:
                self.processes.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "train", "run", *arguments],
                        cwd=ROOT,
                        env=environment,
                        stdout=out,
                        stderr=subprocess.STDOUT,
                    )
                )

    def running(self) -> bool:
        """Whether none has ended yet."""
        return all(process.poll() is None for process in self.processes)

    def send(self, number: signal.Signals, victim: int) -> None:
        """A signal to one process."""
        self.processes[victim].send_signal(number)

    def wait(self, timeout: float = 900) -> list[int]:
        """Exit statuses when all have ended; those that do not end in time are killed.

        Raises:
            AssertionError: some had to be killed.
        """
        deadline = time.monotonic() + timeout
        try:
            for process in self.processes:
                process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired as error:
            self.kill()
            raise AssertionError(f"still running after {timeout} s:\n{self.output()}") from error
        return [process.returncode for process in self.processes]

    def kill(self) -> None:
        """Ends all at once, as a power failure does."""
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()

    def output(self) -> str:
        """What all of them printed."""
        return "\n".join(
            f"--- {log.name}\n{log.read_text(encoding='utf-8', errors='replace')}"
            for log in self.logs
        )
