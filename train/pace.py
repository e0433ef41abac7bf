"""How fast steps follow each other, and how much of the devices' peak that is."""

import contextlib
import time
from collections.abc import Iterator

import numpy as np

from train.measure import Work


class Pace:
    """Seconds and work of the steps since it was last read.

    A step's seconds are those from the end of the step before to its own, as the host sees them
    when it reads the step's numbers: nothing waits for the sake of a measurement.
    """

    def __init__(self, peak_flops: float) -> None:
        """`peak_flops`: FLOP/s of all devices together."""
        self._peak_flops = peak_flops
        self._last = time.perf_counter()
        self._clear()

    def _clear(self) -> None:
        self._seconds: list[float] = []
        self._tokens, self._positions, self._flops = 0.0, 0, 0.0

    def finished(self, tokens: float, work: Work) -> None:
        """A step is done: so many tokens were learned from, and this is what it computed."""
        now = time.perf_counter()
        self._seconds.append(now - self._last)
        self._last = now
        self._tokens += tokens
        self._positions += work.positions
        self._flops += work.flops

    def read(self) -> dict[str, float]:
        """The numbers of the steps since the last call, of which there must be one."""
        steps = np.array(self._seconds)
        seconds = steps.sum()
        found = {
            "tokens_per_second": self._tokens / seconds,
            "positions_per_second": self._positions / seconds,
            "steps_per_second": len(steps) / seconds,
            "step_seconds_p50": np.percentile(steps, 50),
            "step_seconds_p90": np.percentile(steps, 90),
            "step_seconds_max": steps.max(),
            "model_flops_per_second": self._flops / seconds,
            "mfu": self._flops / seconds / self._peak_flops,
        }
        self._clear()
        return {name: float(value) for name, value in found.items()}

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """What happens within belongs to no step; the devices must have nothing to do before."""
        start = time.perf_counter()
        yield
        self._last += time.perf_counter() - start
