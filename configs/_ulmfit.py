"""What the configs of ULMFiT have in common: the recipes of its three stages (Howard & Ruder 2018).

Adam has b1 0.7 and b2 0.99 (section 4.1). A group learns 2.6 times as slowly as the one above it
(3.2), with a slanted triangular schedule; in a language model the table of tokens, which is the
output layer, too, is the topmost group.
"""

import dataclasses
from typing import Any

from flaxformers_edu.objectives import BPTTLanguageModel, Classification
from flaxformers_edu.optim.optimizers import Optimizer
from flaxformers_edu.optim.schedules import Schedule
from train.experiment import Experiment, TokenizerSpec
from train.pipeline import Batching

ADAM = Optimizer(name="adamw", b1=0.7, b2=0.99, clip_norm=0.25)
DISCRIMINATIVE = dataclasses.replace(ADAM, layer_decay=1 / 2.6, layer_decay_above=1)
CLASSIFIER_DROPOUT = {
    "embedding_dropout": 0.05,
    "input_dropout": 0.4,
    "weight_dropout": 0.5,
    "hidden_dropout": 0.3,
    "output_dropout": 0.4,
}
"""Section 4.1."""


def language_model(
    name: str, model: Any, source: Any, *, streams: int, bptt: int, longest: int, steps: int
) -> Experiment:
    """The first stage: a language model of general text, from scratch."""
    return Experiment(
        name=name,
        model=model,
        objective=BPTTLanguageModel(bptt=bptt),
        source=source,
        tokenizer=TokenizerSpec(kind="bpe"),
        batching=Batching(tokens_per_batch=streams * longest, max_source_length=longest),
        optimizer=ADAM,
        schedule=Schedule(name="slanted_triangular", peak=4e-3),
        steps=steps,
        eval_every=steps // 5,
        checkpoint_every=steps // 5,
        keep_last=1,
    )


def domain(general: Experiment, name: str, source: Any, *, steps: int) -> Experiment:
    """The second stage: the language model goes on with texts of the task, without labels."""
    return dataclasses.replace(
        general,
        name=name,
        source=source,
        optimizer=dataclasses.replace(DISCRIMINATIVE, head=("^embedding/",)),
        steps=steps,
        eval_every=steps // 3,
        checkpoint_every=steps // 3,
    )


def classifier(
    general: Experiment,
    name: str,
    source: Any,
    labels: tuple[str, ...],
    *,
    rows: int,
    length: int,
    steps: int,
    unfreeze_every: int,
) -> Experiment:
    """The third stage: a classifier, unfrozen group by group from the last."""
    return dataclasses.replace(
        general,
        name=name,
        model=dataclasses.replace(general.model, num_labels=len(labels), **CLASSIFIER_DROPOUT),
        objective=Classification(labels=labels),
        source=source,
        batching=Batching(
            tokens_per_batch=rows * length, max_source_length=length, bucket_multiple=length // 4
        ),
        optimizer=dataclasses.replace(DISCRIMINATIVE, unfreeze_every=unfreeze_every),
        schedule=Schedule(name="slanted_triangular", peak=1e-2),
        steps=steps,
        eval_every=steps // 6,
        checkpoint_every=steps // 6,
    )
