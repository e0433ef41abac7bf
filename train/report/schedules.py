"""Every schedule, drawn from the code that trains with it: docs/images/schedules.png.

python -m train.report.schedules docs/images/schedules.png
"""

import dataclasses
import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np

from flaxformers_edu.optim.schedules import Name, Schedule
from train.report.style import BLUE, count_axis, new_figure, save, style

STEPS = 10_000
BASE = Schedule(name="constant", peak=1.0, warmup_steps=1000)
SHOWN: dict[str, Schedule] = {
    "constant": BASE,
    "linear": dataclasses.replace(BASE, name="linear"),
    "cosine, end_ratio 0.1": dataclasses.replace(BASE, name="cosine", end_ratio=0.1),
    "polynomial, power 2": dataclasses.replace(BASE, name="polynomial", power=2.0),
    "rsqrt": dataclasses.replace(BASE, name="rsqrt"),
    "rsqrt, model_dim 512": Schedule(name="rsqrt", model_dim=512, warmup_steps=4000),
    "wsd, decay_fraction 0.2": dataclasses.replace(BASE, name="wsd", decay_fraction=0.2),
    "slanted_triangular": dataclasses.replace(BASE, name="slanted_triangular"),
}
"""Title -> schedule: every name at least once."""


def schedules_figure(path: Path) -> Path:
    """A panel for each schedule over 10,000 steps, with its fields in the title."""
    assert {schedule.name for schedule in SHOWN.values()} == set(get_args(Name))
    steps = np.arange(STEPS)
    with style():
        figure = new_figure(11.0, 4.8)
        grid: Any = figure.subplots(2, 4, sharex=True)
        for axes, (title, schedule) in zip(grid.ravel(), SHOWN.items(), strict=True):
            rates = np.broadcast_to(np.asarray(schedule.build(STEPS)(steps)), steps.shape)
            axes.plot(steps, rates, color=BLUE)
            axes.set_title(title)
            axes.set_ylim(0, 1.08 * rates.max())
            axes.set_xlim(0, STEPS)
            count_axis(axes.xaxis)
            axes.set_ylabel("rate" if schedule.model_dim else "rate / peak")
        for axes in grid[1]:
            axes.set_xlabel("step")
        return save(figure, path)


if __name__ == "__main__":
    print(schedules_figure(Path(sys.argv[1])))
