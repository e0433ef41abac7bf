"""The smallest recurrent language model, which carries its states from step to step.

It reads the examples of `tiny_classifier`.
"""

import dataclasses
from pathlib import Path
from typing import Any

from flaxformers_edu.models import AWDLSTMConfig
from flaxformers_edu.objectives import BPTTLanguageModel
from flaxformers_edu.optim.optimizers import Optimizer
from flaxformers_edu.optim.schedules import Schedule
from tests.train import tiny_classifier
from train.experiment import Experiment, TokenizerSpec
from train.pipeline import Batching

CONFIG = str(Path(__file__))
STEPS = 8
MODEL = AWDLSTMConfig(
    vocab_size=280,
    embedding_size=6,
    hidden_size=10,
    num_layers=2,
    chunk_length=8,
    pooled_length=16,
    pad_token_id=0,
    eos_token_id=0,
)


def config(**changes: Any) -> Experiment:
    """Eight steps, somewhat more than an epoch: a checkpoint every two, an evaluation too."""
    experiment = dataclasses.replace(
        tiny_classifier.config(),
        name="tiny-streams",
        model=MODEL,
        objective=BPTTLanguageModel(bptt=10, deviation=3.0),
        tokenizer=TokenizerSpec(kind="gpt2"),
        batching=Batching(tokens_per_batch=8 * 12, max_source_length=12),
        optimizer=Optimizer(name="sgd", momentum=0.0, weight_decay=1.2e-6, clip_norm=0.25),
        schedule=Schedule(name="constant", peak=30.0, warmup_steps=0),
        steps=STEPS,
        eval_every=2,
        checkpoint_every=2,
        nt_asgd=1,
    )
    return dataclasses.replace(experiment, **changes)
