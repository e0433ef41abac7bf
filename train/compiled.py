"""A training step compiled ahead of time, once for each shape of batch, and what that took."""

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any

from jaxtyping import Array

from train.units import in_bytes


@dataclasses.dataclass(frozen=True)
class Program:
    """A step, compiled for one shape of batch."""

    executable: Callable[..., Any]
    seconds: float
    """Tracing, lowering and compiling, or finding it in jax's cache on disk."""
    memory: Any
    """What XLA reserves on each device (jax's CompiledMemoryStats); None where it does not say."""

    def description(self) -> str:
        """Seconds and memory, in a line."""
        text = f"the step was compiled in {self.seconds:.1f} s"
        if (memory := self.memory) is None:
            return text
        arguments, outputs = memory.argument_size_in_bytes, memory.output_size_in_bytes
        aliased, temporaries = memory.alias_size_in_bytes, memory.temp_size_in_bytes
        return (
            f"{text}; memory of a device: {in_bytes(arguments + outputs - aliased + temporaries)} "
            f"= {in_bytes(arguments)} arguments + {in_bytes(outputs)} results "
            f"- {in_bytes(aliased)} that both share + {in_bytes(temporaries)} temporaries"
        )


class CompiledStep:
    """A jitted (state, batch, *fixed) -> result, called through programs that `compile` made.

    `fixed` is the same in every call, and no part of the program, as a constant would be.

    Where jit would compile again in silence, for a new shape or a state that lies elsewhere, a call
    fails: every compilation of a run is one that was asked for, and timed.
    """

    def __init__(self, step: Any, *fixed: Any) -> None:
        self.step, self.fixed = step, fixed
        self.programs: dict[Any, Program] = {}

    def knows(self, batch: Mapping[str, Array]) -> bool:
        """Whether there is a program for batches of this shape."""
        return _shape_of(batch) in self.programs

    def compile(self, state: Any, batch: Mapping[str, Array]) -> Program:
        """Makes the program for batches of this shape, and for states like this one."""
        start = time.perf_counter()
        executable = self.step.lower(state, batch, *self.fixed).compile()
        seconds = time.perf_counter() - start
        program = Program(executable, seconds, executable.memory_analysis())
        self.programs[_shape_of(batch)] = program
        return program

    def __call__(self, state: Any, batch: Mapping[str, Array]) -> Any:
        """The step; raises KeyError where there is no program for the batch."""
        return self.programs[_shape_of(batch)].executable(state, batch, *self.fixed)


def _shape_of(batch: Mapping[str, Array]) -> Any:
    return tuple((name, x.shape, x.dtype) for name, x in sorted(batch.items()))
