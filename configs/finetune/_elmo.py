"""What the tasks that read ELMo have in common: a bidirectional LSTM beside frozen features."""

from typing import Any

from flaxformers_edu.models import ElmoConfig
from flaxformers_edu.optim.optimizers import Optimizer
from flaxformers_edu.optim.schedules import Schedule
from train.experiment import Experiment, TokenizerSpec
from train.pipeline import Batching

BILM = (r"^(token_embedder|forward_lm|backward_lm)/",)
"""What is not learnt: the biLM. Its layers' mixture is."""


def with_elmo(
    name: str, objective: Any, source: Any, *, steps: int, max_length: int, tokens_per_batch: int
) -> Experiment:
    """AdamW at 2e-3, whose decay of 1e-3 is the paper's λ on the mixture's weights, not on γ.

    The biLM's sizes are those of configs/elmo_mini.py, for a run from scratch; --init FOLDER takes
    the sizes, the weights and the vocabulary of a trained one.
    """
    return Experiment(
        name=name,
        model=ElmoConfig(
            vocab_size=16384,
            filters=((1, 16), (2, 16), (3, 32), (4, 64), (5, 128)),
            num_highway=1,
            projection_size=128,
            hidden_size=512,
            num_labels=objective.num_labels,
        ),
        objective=objective,
        source=source,
        tokenizer=TokenizerSpec(kind="elmo"),
        batching=Batching(
            tokens_per_batch=tokens_per_batch, max_source_length=max_length, bucket_multiple=16
        ),
        optimizer=Optimizer(
            name="adamw", weight_decay=1e-3, clip_norm=5.0, frozen=BILM, no_decay=("^mix/gamma$",)
        ),
        schedule=Schedule(name="linear", peak=2e-3, warmup_steps=steps // 20),
        steps=steps,
        eval_every=steps // 6,
        checkpoint_every=steps // 6,
        keep_last=1,
    )
