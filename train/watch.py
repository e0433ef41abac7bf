"""What a loop watches: signals that ask it to stop, and numbers that must be finite."""

import contextlib
import math
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any

from jax.experimental import multihost_utils

from train import peers
from train.measure import Work
from train.pace import Pace

CHECKED = ("loss", "grad_norm", "param_norm")
"""Metrics of a step that must be finite: what was computed, and the parameters it led to."""


class Stopped(Exception):
    """SIGTERM or SIGINT asked the run to stop."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.exit_status = 128 + number


class BadStep(Exception):
    """A step went wrong: something is not finite, or it is a spike that is not tolerated."""

    def __init__(self, step: int, reason: str) -> None:
        super().__init__(f"{reason} at step {step}")
        self.step = step


class StopSignal:
    """Notes SIGTERM and SIGINT, so that the loop stops where it can be resumed.

    Use as a context manager. A second signal ends the process at once: what was being written then
    is left unfinished, and the next run removes it. Python delivers signals to the main thread
    only; a run in another thread leaves them to whoever started it.

    With many processes, a signal to any of them stops all at the same point. SIGTERM is then left
    to jax's preemption service, which waits for it, tells the other processes, and finds the next
    point that all will come to.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._points = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopSignal":
        numbers = (signal.SIGINT,) if peers.number() > 1 else (signal.SIGTERM, signal.SIGINT)
        if threading.current_thread() is threading.main_thread():
            for number in numbers:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def due(self) -> bool:
        """Whether to stop here. With many processes, all must ask at the same points."""
        if peers.number() > 1:
            self._points += 1
            if multihost_utils.reached_preemption_sync_point(self._points):
                self.number = self.number or signal.SIGTERM
                return True
            return False
        return self.number is not None

    def check(self) -> None:
        """Raises Stopped if it is time to stop; a point in the sense of `due`."""
        if self.due():
            self.leave()

    def leave(self) -> None:
        """Raises Stopped, after `due` said so."""
        assert self.number is not None
        raise Stopped(self.number)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None:
            os._exit(128 + number)
        self.number = number
        if peers.number() > 1:
            os.kill(os.getpid(), signal.SIGTERM)  # for the preemption service to spread


def complaint(values: Mapping[str, float]) -> str | None:
    """What is wrong with a step, if anything."""
    for name in CHECKED:
        if not math.isfinite(values[name]):
            return f"{name} is {values[name]}"
    if values.get("bad_in_a_row", 0) > 0:
        return f"a spike: loss is {values['loss']:.4g} and grad_norm is {values['grad_norm']:.4g}"
    return None


class Meter:
    """Reads the numbers of training steps, one step late: the device works meanwhile.

    `peak_flops`: FLOP/s of all devices together, see `Pace`.
    `tolerated`: how many bad steps in a row are told to `on_bad` (the step, its metrics, in words
    what is wrong with it), and no more; the next one is raised.
    """

    def __init__(
        self,
        peak_flops: float,
        tolerated: int = 0,
        on_bad: Callable[[int, dict[str, float], str], None] = lambda *_: None,
    ) -> None:
        self._tolerated, self._on_bad = tolerated, on_bad
        self._pending: tuple[int, dict[str, Any], Work] | None = None
        self._values: dict[str, float] = {}
        self._pace = Pace(peak_flops)

    def add(self, step: int, metrics: dict[str, Any], work: Work) -> None:
        """Takes a step's metrics, still being computed, and reads those of the step before.

        Raises:
            BadStep: that step went wrong.
        """
        self.check()
        self._pending = (step, metrics, work)

    def check(self) -> None:
        """Waits for the newest step.

        Raises:
            BadStep: its loss, its gradient or its parameters are not finite, or it was judged bad.
        """
        if self._pending is None:
            return
        step, metrics, work = self._pending
        self._pending = None
        self._values = {name: float(value) for name, value in metrics.items()}
        self._pace.finished(self._values["tokens"], work)
        self._values["padding"] = 1 - self._values["tokens"] / work.positions
        if (reason := complaint(self._values)) is not None:
            # Only a judged step can be tolerated: of others, the state has what went wrong.
            if not 0 < self._values.get("bad_in_a_row", 0) <= self._tolerated:
                raise BadStep(step, reason)
            self._on_bad(step, self._values, reason)

    def read(self) -> dict[str, float]:
        """The newest step's metrics, with the speed since the last call."""
        self.check()
        return {**self._values, **self._pace.read()}

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """What happens within, after the newest step is done, does not count as training time."""
        self.check()
        with self._pace.paused():
            yield
