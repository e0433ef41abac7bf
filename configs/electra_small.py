"""ELECTRA-small (Clark et al. 2020) for one GPU: find the tokens that a generator replaced.

    python -m train run configs/electra_small.py --workdir runs/electra_small --source.download

128 rows of 128 tokens, 1,000,000 steps, with a generator of a quarter of the width, as in the paper
(table 6; the released model had one of its full width). It has not been trained here. Without
BooksCorpus, which TFDS does not have.
"""

import dataclasses

from configs.bert_base import SPECIAL_IDS, UNCASED, pretraining
from flaxformers_edu.models import presets
from flaxformers_edu.objectives import ReplacedTokenDetection
from flaxformers_edu.optim.optimizers import Optimizer
from flaxformers_edu.optim.schedules import Schedule
from train.experiment import Experiment


def config() -> Experiment:
    """The experiment."""
    model = dataclasses.replace(
        presets()["electra-small"], **SPECIAL_IDS, generator_fraction=1 / 4, dtype="bfloat16"
    )
    return pretraining(
        "electra_small",
        model,
        ReplacedTokenDetection(),
        UNCASED,
        rows=128,
        length=128,
        steps=1_000_000,
        optimizer=Optimizer(name="adamw", eps=1e-6, weight_decay=0.01, clip_norm=1.0),
        schedule=Schedule(name="linear", peak=5e-4, warmup_steps=10_000),
    )
