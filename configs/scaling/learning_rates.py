"""The best learning rate at four widths, in standard parametrisation and in muP, side by side.

python -m train sweep configs/scaling/learning_rates.py --workdir runs/learning_rates
python -m train run configs/scaling/learning_rates.py --workdir runs/learning_rates_one

Each run is short: 150 steps of 512 tokens. docs/scaling.md has the losses.
"""

import dataclasses

from configs.scaling import stdlib
from train.experiment import Experiment
from train.scaling.ladder import Point

WIDTHS = (16, 32, 64, 128)
RATES = tuple(2.0**k for k in range(-9, -4))


def config() -> Experiment:
    """The base of the other ladder, for 150 steps."""
    base = stdlib.config()
    batching = dataclasses.replace(base.batching, tokens_per_batch=512)
    schedule = dataclasses.replace(base.schedule, peak=RATES[2], warmup_steps=15)
    return dataclasses.replace(
        base,
        name="scaling_learning_rates",
        batching=batching,
        schedule=schedule,
        steps=150,
        eval_every=150,
        checkpoint_every=150,
    )


def ladder(base: Experiment) -> tuple[Point, ...]:
    """Every rate at every width, twice."""
    points = []
    for parametrisation in ("standard", "mup"):
        for width in WIDTHS:
            model = stdlib.sized(width)
            if parametrisation == "standard":
                model = dataclasses.replace(model, mup_base_width=0, mup_base_head_dim=0)
            optimizer = dataclasses.replace(base.optimizer, rate_factors=model.mup_rate_factors)
            for rate in RATES:
                name = f"{parametrisation}-width{width:03}-rate{rate:.4f}"
                experiment = dataclasses.replace(
                    base,
                    name=name,
                    model=model,
                    optimizer=optimizer,
                    schedule=dataclasses.replace(base.schedule, peak=rate),
                )
                points.append(Point(name, experiment))
    return tuple(points)
