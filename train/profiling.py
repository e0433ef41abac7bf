"""A trace of a few steps, for TensorBoard's profiler (XProf)."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import jax

from flaxformers_edu.errors import InputError

Idle = Callable[[], AbstractContextManager]
"""Makes a context that waits for the devices first: what they still do belongs to other steps."""


def parse_steps(text: str) -> tuple[int, int] | None:
    """First and last step of "10:13"; None for "".

    Raises:
        InputError: anything else.
    """
    if not text:
        return None
    first, _, last = text.partition(":")
    if not (first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last)):
        raise InputError(
            f"profile is {text!r}; it must be FIRST:LAST, steps from 1 on, such as 10:13"
        )
    return int(first), int(last)


class Profiler:
    """Traces steps FIRST to LAST into a folder. A context manager: leaving it ends a trace."""

    def __init__(self, steps: str, folder: Path) -> None:
        self.first, self.last = parse_steps(steps) or (0, 0)
        self.folder = folder
        self._tracing = False

    def __enter__(self) -> "Profiler":
        return self

    def __exit__(self, *_: object) -> None:
        if self._tracing:
            jax.profiler.stop_trace()

    def before(self, step: int, idle: Idle) -> None:
        """Begins the trace before its first step."""
        if step != self.first or self._tracing:
            return
        # Python's own calls would be most of the file, and slow the steps down.
        options = jax.profiler.ProfileOptions()
        options.python_tracer_level = 0
        with idle():
            jax.profiler.start_trace(self.folder, profiler_options=options)
        self._tracing = True

    def after(self, step: int, idle: Idle) -> bool:
        """Ends the trace after its last step; says whether it did."""
        if step != self.last or not self._tracing:
            return False
        with idle():
            jax.profiler.stop_trace()
        self._tracing = False
        return True
