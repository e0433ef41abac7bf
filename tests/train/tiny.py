"""The smallest experiment that does everything: for the tests here, and as a config file."""

import dataclasses
from pathlib import Path
from typing import Any

from flaxformers_edu.models import TransformerConfig
from flaxformers_edu.objectives import Translation
from flaxformers_edu.optim.optimizers import Optimizer
from flaxformers_edu.optim.schedules import Schedule
from train.experiment import Decoding, Experiment, TokenizerSpec
from train.pipeline import Batching
from train.sources import ToyKorean

CONFIG = str(Path(__file__))
STEPS = 6


def config(**changes: Any) -> Experiment:
    """Six steps: a checkpoint every two, an evaluation every three."""
    experiment = Experiment(
        name="tiny",
        model=TransformerConfig(
            vocab_size=800,  # sentences of 32 pieces at most: evaluation has one shape
            hidden_size=16,
            num_layers=1,
            num_heads=2,
            intermediate_size=32,
            dropout=0.1,
        ),
        objective=Translation(),
        source=ToyKorean(size=200, held_out_size=16),
        tokenizer=TokenizerSpec(kind="bpe"),
        batching=Batching(
            tokens_per_batch=1024, max_source_length=64, max_target_length=64, buckets=(64,)
        ),
        optimizer=Optimizer(clip_norm=1.0),
        schedule=Schedule(peak=1e-2, warmup_steps=2),
        decoding=Decoding(num_beams=2, max_new_tokens=6),
        steps=STEPS,
        ema_decay=0.5,
        log_every=1,
        eval_every=3,
        eval_examples=8,
        checkpoint_every=2,
    )
    return dataclasses.replace(experiment, **changes)
