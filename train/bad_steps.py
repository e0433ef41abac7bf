"""What to do with a step that went wrong: stop, skip it, or go back and around its data.

A step is bad if its loss, its gradient or the parameters that it leads to are not finite, or, with
a `spike_factor`, if the loss or the gradient's norm is that much above its running mean. It is
judged inside the compiled step, from numbers that are the same on all devices: all processes
decide alike, and nothing waits for the host.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Int

from flaxformers_edu.errors import InputError, unknown_name
from flaxformers_edu.optim.running import RunningMean

Policy = Literal["stop", "skip", "rollback"]
WATCHED = ("loss", "grad_norm")


@dataclass(frozen=True)
class BadSteps:
    """What happens to a step that is not finite, or a spike."""

    policy: Policy = "stop"
    """stop: end the run with status 3; skip: leave the update out; rollback: restore the newest
    checkpoint and leave out the batches between (PaLM, Chowdhery et al. 2022, section 5.1)."""
    spike_factor: float = 0.0
    """A step is also bad if its loss or its gradient's norm is more than this factor above its
    running mean; 0: only what is not finite is bad."""
    window: int = 100
    """Steps that the running means extend over; nothing is a spike before so many were good."""
    max_in_a_row: int = 10
    """skip: more bad steps in a row than this stop the run."""
    leave_out: int = 100
    """rollback: batches after the bad one that are left out too (PaLM: 200 to 500 in all)."""
    max_rollbacks: int = 3
    """rollback: a bad step after going back so often to one checkpoint stops the run."""

    def __post_init__(self) -> None:
        if self.policy not in get_args(Policy):
            raise unknown_name("bad_steps.policy", self.policy, get_args(Policy))
        if self.spike_factor != 0 and not 1 < self.spike_factor < float("inf"):
            raise InputError(
                f"bad_steps.spike_factor is {self.spike_factor}; it must be above 1, or 0 for none"
            )
        lowest = {"window": 1, "max_in_a_row": 0, "leave_out": 0, "max_rollbacks": 1}
        for field, least in lowest.items():
            if getattr(self, field) < least:
                raise InputError(
                    f"bad_steps.{field} is {getattr(self, field)}; it must be at least {least}"
                )

    @property
    def guarded(self) -> bool:
        """Whether steps are judged as they are computed; if not, the state has nothing to keep."""
        return self.policy != "stop" or self.spike_factor > 0

    @property
    def tolerated(self) -> int:
        """Bad steps in a row with which the run goes on."""
        return self.max_in_a_row if self.policy == "skip" else 0


@struct.dataclass
class Guard:
    """What the judgement keeps in the training state, so that a resumed run judges the same."""

    means: RunningMean
    """Of the loss and the gradient's norm, over good steps."""
    in_a_row: Int[Array, ""]
    """Bad steps since the last good one."""
    skipped: Int[Array, ""]
    """Steps whose update was left out: the schedule and the moments do not count them."""
    offset: Int[Array, ""]
    """Batches left out by going back: step s (from 0) trains on batch s + offset."""

    @classmethod
    def initial(cls) -> "Guard":
        """That of step 0."""
        zeros = (jnp.zeros((), jnp.int32) for _ in range(3))
        return cls(RunningMean.of(*WATCHED), *zeros)


def is_bad(means: RunningMean, metrics: dict[str, Array], policy: BadSteps) -> Bool[Array, ""]:
    """Whether a step with these metrics is not finite, or a spike over the running means."""
    checked = jnp.stack([metrics[name] for name in (*WATCHED, "param_norm")])
    bad = ~jnp.isfinite(checked).all()
    if policy.spike_factor:
        now = jnp.stack([metrics[name] for name in WATCHED])
        before = jnp.stack([means.mean[name] for name in WATCHED])
        known = means.count >= policy.window
        bad |= known & (now > policy.spike_factor * before).any()
    return bad


def guarded(
    update: Callable[..., tuple[Any, dict[str, Array]]], policy: BadSteps
) -> Callable[..., tuple[Any, dict[str, Array]]]:
    """An update (state, ...) -> (state, metrics) that judges what it did.

    With policy "skip", a bad one leaves the whole state as it was but for `step` and the guard.
    The metrics get "bad_in_a_row", 0 for a good step. The parameters' norm of a bad step is the one
    that it would have led to.
    """

    def guarded_update(state: Any, *arguments: Any, **more: Any) -> tuple[Any, dict[str, Array]]:
        new, metrics = update(state, *arguments, **more)
        guard = state.guard
        bad = is_bad(guard.means, metrics, policy)
        now = {name: metrics[name] for name in WATCHED}
        judged = guard.replace(
            means=guard.means.add(now, policy.window, where=~bad),
            in_a_row=jnp.where(bad, guard.in_a_row + 1, 0),
        )
        if policy.policy == "skip":
            new = jax.tree.map(lambda old, moved: jnp.where(bad, old, moved), state, new)
            judged = judged.replace(skipped=guard.skipped + bad)
        metrics["bad_in_a_row"] = judged.in_a_row
        return new.replace(step=state.step + 1, guard=judged), metrics

    return guarded_update
