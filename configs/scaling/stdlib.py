"""A scaling ladder that two cores can climb: tiny GPTs on Python's own source code.

python -m train sweep configs/scaling/stdlib.py --workdir runs/scaling
python -m train sweep configs/scaling/stdlib.py --dry-run
python -m train run configs/scaling/stdlib.py --workdir runs/scaling_one   # the base alone

Eight widths at four compute budgets (IsoFLOP profiles), each text seen once at most. Only the width
grows: muP carries the learning rate, found at width 32, to all of them. docs/scaling.md has the
losses and the laws.
"""

import dataclasses

from flaxformers_edu.models import GPTConfig
from flaxformers_edu.objectives import CausalLM
from flaxformers_edu.optim.optimizers import Optimizer
from flaxformers_edu.optim.schedules import Schedule
from train.experiment import Experiment, TokenizerSpec
from train.pipeline import Batching
from train.scaling.ladder import Point, isoflop_steps
from train.sources import StdlibCode

WIDTHS = (8, 16, 24, 32, 48, 64, 96, 128)
BUDGETS = (2.5e10, 1e11, 4e11, 1.6e12)
FEWEST_STEPS, MOST_STEPS = 60, 3400
"""Shorter runs are over before they begin; longer ones would see the text a second time."""
BASE_WIDTH, NUM_HEADS = 32, 4


def config() -> Experiment:
    """The base of the ladder: width 32."""
    return Experiment(
        name="scaling_stdlib",
        model=sized(BASE_WIDTH),
        objective=CausalLM(),
        source=StdlibCode(),
        tokenizer=TokenizerSpec(kind="bpe"),
        batching=Batching(
            tokens_per_batch=1024, max_source_length=64, packing=True, over_length="split"
        ),
        optimizer=Optimizer(b2=0.98, clip_norm=1.0),
        schedule=Schedule(name="cosine", peak=1e-2, warmup_steps=30, end_ratio=0.1),
        steps=1000,
        log_every=10,
        eval_every=500,
        checkpoint_every=1000,
        keep_last=1,
    )


def sized(width: int) -> GPTConfig:
    """Two layers of four heads, whose size grows with the width."""
    return GPTConfig(
        vocab_size=512,
        hidden_size=width,
        num_layers=2,
        num_heads=NUM_HEADS,
        intermediate_size=4 * width,
        dropout=0.0,
        embedding_dropout=0.0,
        attention_dropout=0.0,
        init_std=0.1,
        max_length=64,
        pad_token_id=0,
        eos_token_id=1,
        layout="unrolled",
        mup_base_width=BASE_WIDTH,
        mup_base_head_dim=BASE_WIDTH // NUM_HEADS,
    )


def ladder(base: Experiment) -> tuple[Point, ...]:
    """Every width at every budget that it can spend in one pass over the text.

    Where it cannot, one run over the whole text stands in for all larger budgets: it belongs to no
    profile, and tells how size alone changes the loss.
    """
    points = []
    for width in WIDTHS:
        model = sized(width)
        optimizer = dataclasses.replace(base.optimizer, rate_factors=model.mup_rate_factors)
        at_width = dataclasses.replace(base, model=model, optimizer=optimizer)
        for budget in BUDGETS:
            steps = isoflop_steps(at_width, budget)
            if steps < FEWEST_STEPS:
                continue
            whole = steps > MOST_STEPS
            steps = min(steps, MOST_STEPS)
            name = f"width{width:03}-" + ("all" if whole else f"{budget:.3g}".replace("+", ""))
            experiment = dataclasses.replace(
                at_width,
                name=name,
                steps=steps,
                eval_every=max(1, steps // 3),
                checkpoint_every=max(1, steps // 2),
            )
            points.append(Point(name, experiment, 0.0 if whole else budget))
            if whole:
                break
    return tuple(points)
