"""The ladder of configs/scaling/stdlib.py for a pod: GPT-3's widths, 125 million to 175 billion.

python -m train sweep configs/scaling/pod.py --dry-run
python -m train run configs/scaling/pod.py --workdir runs/pod_base   # the smallest, alone

For planning: not run here. IsoFLOP profiles of budgets from 1e19 FLOPs to the 3.14e23 of GPT-3
(Brown et al. 2020, table D.1). Text is C4 from TensorFlow Datasets, tokens are GPT-2's. Widths
above 768 share its learning rate by muP; depth grows as in GPT-3 (table 2.1), which muP does not
cover. `python -m train plan configs/scaling/pod.py` says what the smallest needs; the larger sizes
have plans of their own in docs/plans.
"""

import dataclasses

from flaxformers_edu.models import GPTConfig
from flaxformers_edu.models.gpt3 import PRESETS
from flaxformers_edu.objectives import CausalLM
from flaxformers_edu.optim.optimizers import Optimizer
from flaxformers_edu.optim.schedules import Schedule
from flaxformers_edu.sharding import MeshShape
from train.experiment import Experiment, TokenizerSpec
from train.pipeline import Batching
from train.scaling.ladder import Point, isoflop_steps
from train.sources import Tfds

SIZES = ("small", "medium", "large", "xl", "2.7b", "6.7b", "13b", "175b")
BUDGETS = (1e19, 1e20, 1e21, 1e22, 3.14e23)
TOKENS_PER_PARAMETER = (1.5, 500.0)
"""Of the points that are run: around the 20 of Hoffmann et al. 2022 (table 3)."""
BASE_WIDTH = 768


def config() -> Experiment:
    """GPT-3's smallest size, with its batch (table 2.1) and its optimiser (appendix B)."""
    return Experiment(
        name="scaling_pod",
        model=sized("small"),
        objective=CausalLM(loss_chunks=8),
        source=Tfds(name="c4/en", source="text", target="", test=""),
        tokenizer=TokenizerSpec(kind="folder", folder="$FLAXFORMERS_DATA/tokenizers/gpt2"),
        batching=Batching(
            tokens_per_batch=2**19, max_source_length=2048, packing=True, over_length="split"
        ),
        optimizer=Optimizer(b2=0.95, weight_decay=0.1, clip_norm=1.0),
        schedule=Schedule(name="cosine", peak=6e-4, warmup_steps=700, end_ratio=0.1),
        mesh=MeshShape(data=1, fsdp=-1),
        steps=100_000,
        eval_every=5_000,
        checkpoint_every=1_000,
    )


def sized(size: str) -> GPTConfig:
    """A size of GPT-3 in bfloat16 and muP; heads grow in number and size as in the paper."""
    return dataclasses.replace(
        PRESETS[f"gpt3-{size}"],
        mup_base_width=BASE_WIDTH,
        mup_base_head_dim=64,
        remat="dots_no_batch",
        dtype="bfloat16",
    )


def ladder(base: Experiment) -> tuple[Point, ...]:
    """Every size at every budget that gives it neither too few nor too many tokens."""
    points = []
    for size in SIZES:
        model = sized(size)
        optimizer = dataclasses.replace(base.optimizer, rate_factors=model.mup_rate_factors)
        for budget in BUDGETS:
            # Batches grow with the budget, as far as GPT-3's 3.2 million tokens.
            tokens = 2 ** (19 if budget < 1e21 else 20 if budget < 1e23 else 21)
            batching = dataclasses.replace(base.batching, tokens_per_batch=tokens)
            experiment = dataclasses.replace(
                base, model=model, optimizer=optimizer, batching=batching
            )
            steps = isoflop_steps(experiment, budget)
            name = f"{size}-{budget:.3g}".replace("+", "")
            experiment = dataclasses.replace(experiment, name=name, steps=steps)
            width, layers = model.hidden_size, model.num_layers
            ratio = steps * tokens / (12 * layers * width**2)
            if TOKENS_PER_PARAMETER[0] <= ratio <= TOKENS_PER_PARAMETER[1]:
                points.append(Point(name, experiment, budget))
    return tuple(points)
