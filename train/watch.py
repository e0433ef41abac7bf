"""What a loop watches: signals that ask it to stop, and numbers that must be finite."""

import contextlib
import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

CHECKED = ("loss", "grad_norm", "param_norm")
"""Metrics of a step that must be finite: what was computed, and the parameters it led to."""


class Stopped(Exception):
    """SIGTERM or SIGINT asked the run to stop."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.exit_status = 128 + number


class NonFinite(Exception):
    """The loss, the gradient or a parameter is NaN or infinite."""


class StopSignal:
    """Notes SIGTERM and SIGINT, so that the loop stops where it can be resumed.

    Use as a context manager. A second signal ends the process at once: what was being written then
    is left unfinished, and the next run removes it. Python delivers signals to the main thread
    only; a run in another thread leaves them to whoever started it.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopSignal":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raises Stopped if a signal has come."""
        if self.number is not None:
            raise Stopped(self.number)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None:
            os._exit(128 + number)
        self.number = number


class Meter:
    """Reads the numbers of training steps, one step late: the device works meanwhile."""

    def __init__(self) -> None:
        self._pending: tuple[int, dict[str, Any]] | None = None
        self._values: dict[str, float] = {}
        self._restart()

    def add(self, step: int, metrics: dict[str, Any]) -> None:
        """Takes a step's metrics, still being computed, and reads those of the step before.

        Raises:
            NonFinite: that step's are not finite.
        """
        self.check()
        self._pending = (step, metrics)

    def check(self) -> None:
        """Waits for the newest step.

        Raises:
            NonFinite: its loss, its gradient or its parameters are not finite.
        """
        if self._pending is None:
            return
        step, metrics = self._pending
        self._pending = None
        self._values = {name: float(value) for name, value in metrics.items()}
        for name in CHECKED:
            if not math.isfinite(self._values[name]):
                raise NonFinite(f"{name} is {self._values[name]} at step {step}")
        self._tokens += self._values["tokens"]
        self._steps += 1

    def read(self) -> dict[str, float]:
        """The newest step's metrics, with the speed since the last call."""
        self.check()
        seconds = time.perf_counter() - self._since
        speed = {
            "tokens_per_second": self._tokens / seconds,
            "steps_per_second": self._steps / seconds,
        }
        self._restart()
        return {**self._values, **speed}

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """What happens within does not count as training time."""
        start = time.perf_counter()
        yield
        self._since += time.perf_counter() - start

    def _restart(self) -> None:
        self._since, self._tokens, self._steps = time.perf_counter(), 0.0, 0
