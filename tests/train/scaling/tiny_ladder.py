"""The smallest ladder: two widths at two budgets, on a text that the test writes."""

import dataclasses
from pathlib import Path

import numpy as np

from flaxformers_edu.models import GPTConfig
from flaxformers_edu.objectives import CausalLM
from flaxformers_edu.optim.schedules import Schedule
from train.experiment import Experiment, TokenizerSpec
from train.pipeline import Batching
from train.scaling.ladder import Point, isoflop_steps
from train.sources import TextFile

WIDTHS, BUDGETS = (4, 8), (1e6, 2e6)


def write_text(folder: Path) -> str:
    """A file of sentences of few words."""
    rng = np.random.default_rng(0)
    words = np.array(["the", "a", "cat", "dog", "sat", "ran", "on", "under", "mat", "tree"])
    lines = [" ".join(rng.choice(words, 9)) for _ in range(60)]
    path = folder / "text.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    return str(path)


def base(text: str) -> Experiment:
    """The experiment that its points share."""
    return Experiment(
        name="tiny",
        model=sized(8),
        objective=CausalLM(),
        source=TextFile(train=text, validation=text),
        tokenizer=TokenizerSpec(kind="bpe"),
        batching=Batching(
            tokens_per_batch=128, max_source_length=16, packing=True, over_length="split"
        ),
        schedule=Schedule(name="constant", peak=1e-2, warmup_steps=1),
        steps=4,
        log_every=1,
        eval_every=2,
        checkpoint_every=2,
    )


def sized(width: int) -> GPTConfig:
    """One layer of one head."""
    return GPTConfig(
        vocab_size=40,
        hidden_size=width,
        num_layers=1,
        num_heads=1,
        intermediate_size=width,
        max_length=16,
        pad_token_id=0,
        eos_token_id=1,
        layout="unrolled",
    )


def ladder(shared: Experiment) -> tuple[Point, ...]:
    """Every width at every budget."""
    points = []
    for width in WIDTHS:
        for budget in BUDGETS:
            experiment = dataclasses.replace(shared, name=f"{width}", model=sized(width))
            steps = isoflop_steps(experiment, budget)
            experiment = dataclasses.replace(experiment, steps=steps, eval_every=steps)
            points.append(Point(f"width{width}-{budget:.0e}", experiment, budget))
    return tuple(points)
