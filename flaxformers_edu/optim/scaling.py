"""How the learning rate follows the batch.

A configuration that is good at one batch size is carried to another by

    optimizer, schedule = rescaled(optimizer, schedule, factor=8, rule="adam")

where `factor` is the new batch over the old. No rule holds at every size: all end near the critical
batch size (`optim/noise_scale.py`), beyond which a larger batch buys ever fewer steps.
"""

import dataclasses
from typing import Literal, get_args

from flaxformers_edu.errors import InputError, unknown_name
from flaxformers_edu.optim.optimizers import Optimizer
from flaxformers_edu.optim.schedules import Schedule

Rule = Literal["linear", "square_root", "adam"]


def linear(rate: float, factor: float) -> float:
    """Rate · factor: for SGD with momentum, LARS too (Goyal et al. 2017, section 2.1)."""
    return rate * factor


def square_root(rate: float, factor: float) -> float:
    """Rate · √factor: keeps the variance of SGD's update (Krizhevsky 2014, section 5).

    It is what LAMB uses (You et al. 2020, section 4.1).
    """
    return rate * factor**0.5


def rescaled(
    optimizer: Optimizer, schedule: Schedule, factor: float, rule: str
) -> tuple[Optimizer, Schedule]:
    """The two for a batch that is `factor` times as large.

    linear and square_root change the peak of the schedule. adam keeps the path of Adam's stochastic
    differential equation: the peak by √factor, 1 - b1 and 1 - b2 by factor, eps by 1/√factor
    (Malladi et al. 2022, definition 5.2). The warm-up keeps its number of steps, as in the table of
    LAMB: at a larger batch it then takes more epochs.

    Raises:
        InputError: an unknown rule; a factor that is not above 0, or at which adam's moments would
            no longer be averages; a schedule whose height is given by model_dim.
    """
    if rule not in get_args(Rule):
        raise unknown_name("rule", rule, get_args(Rule))
    if not 0 < factor < float("inf"):
        raise InputError(f"the factor of the batch is {factor}; it must be above 0")
    if schedule.model_dim:
        raise InputError(
            f"schedule.model_dim={schedule.model_dim} fixes the height of the schedule: set "
            "schedule.peak instead to scale it with the batch"
        )
    scale = linear if rule == "linear" else square_root
    schedule = dataclasses.replace(schedule, peak=scale(schedule.peak, factor))
    if rule != "adam":
        return optimizer, schedule
    forgotten = {name: factor * (1 - getattr(optimizer, name)) for name in ("b1", "b2")}
    for name, part in forgotten.items():
        if part > 1:
            raise InputError(
                f"optimizer.{name}={getattr(optimizer, name)} cannot follow a batch {factor:g} "
                f"times as large: 1 - {name} would be {part:g}; use rule 'square_root'"
            )
    decays = {name: 1 - part for name, part in forgotten.items()}
    return dataclasses.replace(optimizer, **decays, eps=optimizer.eps * factor**-0.5), schedule
