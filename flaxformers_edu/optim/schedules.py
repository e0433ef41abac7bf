"""Learning rates as pure functions of the step.

`step` counts the updates already made, as optax counts them: 0 for the first. Papers count the
update itself, from 1; that number is t = step + 1 below. With warm-up the rate grows linearly,
reaches its peak at t = warmup_steps, and its end at t = total_steps, where it stays. Steps may be
arrays of any shape.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from flaxformers_edu.errors import InputError, unknown_name

Step = jax.typing.ArrayLike
Rate = Float[Array, "..."]
Name = Literal["constant", "linear", "cosine", "polynomial", "rsqrt", "wsd", "slanted_triangular"]


def _update_number(step: Step) -> Rate:
    return jnp.asarray(step, jnp.float32) + 1.0


def warmup(step: Step, warmup_steps: int) -> Rate:
    """Factor t / warmup_steps, at most 1; always 1 without warm-up."""
    return jnp.minimum(1.0, _update_number(step) / max(warmup_steps, 1))


def _progress(step: Step, start: int, end: int) -> Rate:
    """Where t stands between start and end, from 0 to 1."""
    return jnp.clip((_update_number(step) - start) / max(end - start, 1), 0.0, 1.0)


def constant(step: Step, *, peak: float, warmup_steps: int = 0) -> Rate:
    """The peak, after warm-up."""
    return peak * warmup(step, warmup_steps)


def polynomial(
    step: Step,
    *,
    peak: float,
    total_steps: int,
    warmup_steps: int = 0,
    end_ratio: float = 0.0,
    power: float = 1.0,
) -> Rate:
    """Peak · (end_ratio + (1 - end_ratio) (1 - progress)^power), after warm-up."""
    left = 1.0 - _progress(step, warmup_steps, total_steps)
    return peak * warmup(step, warmup_steps) * (end_ratio + (1.0 - end_ratio) * left**power)


def linear(
    step: Step, *, peak: float, total_steps: int, warmup_steps: int = 0, end_ratio: float = 0.0
) -> Rate:
    """A straight line down to peak · end_ratio (Devlin et al. 2019, A.2)."""
    return polynomial(
        step, peak=peak, total_steps=total_steps, warmup_steps=warmup_steps, end_ratio=end_ratio
    )


def cosine(
    step: Step, *, peak: float, total_steps: int, warmup_steps: int = 0, end_ratio: float = 0.0
) -> Rate:
    """Half a cosine down to peak · end_ratio (Loshchilov & Hutter 2017, eq. 5, one period)."""
    wave = 0.5 * (1.0 + jnp.cos(jnp.pi * _progress(step, warmup_steps, total_steps)))
    return peak * warmup(step, warmup_steps) * (end_ratio + (1.0 - end_ratio) * wave)


def rsqrt(step: Step, *, peak: float, warmup_steps: int) -> Rate:
    """Peak · min(t / warmup, √(warmup / t)): the curve of Vaswani et al. 2017, its height given."""
    t = _update_number(step)
    steps = max(warmup_steps, 1)
    return peak * jnp.minimum(t / steps, jnp.sqrt(steps / t))


def transformer(step: Step, *, model_dim: int, warmup_steps: int) -> Rate:
    """model_dim^-0.5 · min(t^-0.5, t · warmup^-1.5) (Vaswani et al. 2017, eq. 3)."""
    t = _update_number(step)
    return model_dim**-0.5 * jnp.minimum(t**-0.5, t * max(warmup_steps, 1) ** -1.5)


def wsd(
    step: Step,
    *,
    peak: float,
    total_steps: int,
    warmup_steps: int = 0,
    decay_fraction: float = 0.1,
    end_ratio: float = 0.0,
) -> Rate:
    """Warm-up, stable, linear decay over the last decay_fraction of all steps (Hu et al. 2024)."""
    start = max(warmup_steps, total_steps - round(decay_fraction * total_steps))
    left = 1.0 - _progress(step, start, total_steps)
    return peak * warmup(step, warmup_steps) * (end_ratio + (1.0 - end_ratio) * left)


def slanted_triangular(
    step: Step, *, peak: float, total_steps: int, cut_fraction: float = 0.1, ratio: float = 32.0
) -> Rate:
    """Short up, long down, between peak / ratio and peak (Howard & Ruder 2018, eq. 3)."""
    t = _update_number(step)
    cut = max(int(total_steps * cut_fraction), 1)
    rising = t / cut
    falling = 1.0 - (t - cut) / (cut * (1.0 / cut_fraction - 1.0))
    p = jnp.clip(jnp.where(t < cut, rising, falling), 0.0, 1.0)
    return peak * (1.0 + p * (ratio - 1.0)) / ratio


@dataclass(frozen=True)
class Schedule:
    """How the learning rate moves."""

    name: Name = "rsqrt"
    """Its course after the warm-up."""
    peak: float = 1e-3
    """The highest rate. Not used where model_dim gives the height."""
    warmup_steps: int = 1000
    """Steps of linear warm-up. slanted_triangular has its own: cut_fraction."""
    total_steps: int = -1
    """The step at which the end is reached; -1: the run's last. constant and rsqrt have no end."""
    end_ratio: float = 0.0
    """The last rate, as a part of the peak: linear, cosine, polynomial, wsd."""
    power: float = 1.0
    """Exponent of polynomial."""
    decay_fraction: float = 0.1
    """The part of all steps that wsd's decay takes."""
    cut_fraction: float = 0.1
    """The part of all steps in which slanted_triangular rises."""
    ratio: float = 32.0
    """How much smaller slanted_triangular's lowest rate is than the peak."""
    model_dim: int = 0
    """rsqrt only: above 0, the formula of "Attention is all you need" with this hidden size."""

    def __post_init__(self) -> None:
        """Refuses what no run could use.

        Raises:
            InputError: naming the field, its value and what is allowed.
        """
        if self.name not in get_args(Name):
            raise unknown_name("schedule.name", self.name, get_args(Name))
        allowed = {
            "peak": (self.peak > 0, "above 0"),
            "warmup_steps": (self.warmup_steps >= 0, "0 or more"),
            "total_steps": (self.total_steps == -1 or self.total_steps > 0, "-1, or above 0"),
            "end_ratio": (0 <= self.end_ratio <= 1, "from 0 to 1"),
            "power": (self.power > 0, "above 0"),
            "decay_fraction": (0 < self.decay_fraction <= 1, "above 0, at most 1"),
            "cut_fraction": (0 < self.cut_fraction < 1, "between 0 and 1"),
            "ratio": (self.ratio >= 1, "1 or more"),
            "model_dim": (self.model_dim >= 0, "0 or more"),
        }
        for field, (good, rule) in allowed.items():
            if not good:
                raise InputError(f"schedule.{field}={getattr(self, field)} must be {rule}")
        if self.model_dim and self.name != "rsqrt":
            raise InputError(
                f"schedule.model_dim={self.model_dim} is for rsqrt; schedule.name is {self.name!r}"
            )

    def build(self, total_steps: int) -> Callable[[Step], Rate]:
        """The rate as a function of the step.

        Args:
            total_steps: the length of the run, used unless the field total_steps has its own.

        Raises:
            InputError: the warm-up would not be over before the end.
        """
        total = total_steps if self.total_steps == -1 else self.total_steps
        ends = self.name in ("linear", "cosine", "polynomial", "wsd")
        if ends and self.warmup_steps >= total:
            raise InputError(
                f"schedule.warmup_steps={self.warmup_steps} must be below the total of {total}"
                f" steps for schedule.name={self.name!r}"
            )
        rise: dict[str, Any] = {"peak": self.peak, "warmup_steps": self.warmup_steps}
        fall: dict[str, Any] = {**rise, "total_steps": total, "end_ratio": self.end_ratio}
        match self.name:
            case "constant":
                return lambda step: constant(step, **rise)
            case "linear":
                return lambda step: linear(step, **fall)
            case "cosine":
                return lambda step: cosine(step, **fall)
            case "polynomial":
                return lambda step: polynomial(step, **fall, power=self.power)
            case "wsd":
                return lambda step: wsd(step, **fall, decay_fraction=self.decay_fraction)
            case "rsqrt" if self.model_dim:
                return lambda step: transformer(
                    step, model_dim=self.model_dim, warmup_steps=self.warmup_steps
                )
            case "rsqrt":
                return lambda step: rsqrt(step, **rise)
            case "slanted_triangular":
                return lambda step: slanted_triangular(
                    step,
                    peak=self.peak,
                    total_steps=total,
                    cut_fraction=self.cut_fraction,
                    ratio=self.ratio,
                )
        raise AssertionError(self.name)
