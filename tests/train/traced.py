"""Runs of equal experiments share what they trace: most of a tiny run's time goes into that.

A function that is traced anew gives the same program. That it does so in a process of its own is
what `tests/system` checks.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import train.assemble
import train.evaluate
import train.loop
import train.restore
import train.state


def shared(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, called once for arguments that are equal, where these can be compared."""
    cached = functools.cache(function)

    def call(*arguments: Any, **named: Any) -> Any:
        try:
            hash(arguments)
        except TypeError:  # of a class that a test has made
            return function(*arguments, **named)
        return cached(*arguments, **named)

    return call


@pytest.fixture(scope="session", autouse=True)
def traced_once() -> Iterator[None]:
    """Equal experiments begin, are trained and evaluated by the same functions in a worker."""
    assemble, steps = shared(train.assemble.assemble), {}
    make_step = train.assemble.Assembled.step

    def step(assembled: train.assemble.Assembled, accumulation: Any) -> Any:
        if assembled.experiment.batching.ramp.full != 1:  # its parts depend on the data
            return make_step(assembled, accumulation)
        parts = accumulation if isinstance(accumulation, int) else None
        # A test may have put another `make_train_step` in the place of ours.
        key = (id(assembled), parts, train.assemble.make_train_step)
        if key not in steps:
            steps[key] = assembled, make_step(assembled, accumulation)
        return steps[key][1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train.assemble.Assembled, "step", step)
        patch.setattr(train.state, "make_initialise", shared(train.state.make_initialise))
        for module in (train.loop, train.restore):
            patch.setattr(module, "assemble", assemble)
        for name in ("make_eval_step", "make_predict_step"):
            patch.setattr(train.evaluate, name, shared(getattr(train.evaluate, name)))
        yield
