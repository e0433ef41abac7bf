"""What the small encoders on WikiText-2 have in common: corpus, vocabulary, and length."""

import dataclasses
from typing import Any

from flaxformers_edu.models import DistillationConfig
from train.experiment import Experiment
from train.pipeline import Batching
from train.sources import TextFile

FOLDER = "$FLAXFORMERS_DATA/wikitext-2"
LENGTH, ROWS = 128, 16
SIZES = {"vocab_size": 8192, "max_length": LENGTH}


def on_wikitext(experiment: Experiment, *, steps: int) -> Experiment:
    """The same model and objective on WikiText-2: twice the vocabulary, and rows twice as long."""
    objective = experiment.objective
    if hasattr(objective, "duplicates"):
        objective = dataclasses.replace(objective, duplicates=3)
    return dataclasses.replace(
        experiment,
        name=experiment.name.replace("stdlib", "wikitext"),
        model=resized(experiment.model),
        objective=objective,
        source=TextFile(
            train=f"{FOLDER}/wiki.train.tokens",
            validation=f"{FOLDER}/wiki.valid.tokens",
            unit="article",
        ),
        batching=Batching(
            tokens_per_batch=ROWS * LENGTH, max_source_length=LENGTH, buckets=(LENGTH,)
        ),
        schedule=dataclasses.replace(experiment.schedule, warmup_steps=steps // 10),
        steps=steps,
        eval_every=steps // 10,
        checkpoint_every=steps // 5,
    )


def resized(model: Any) -> Any:
    """The model with this corpus' vocabulary and length; both of a pair."""
    if isinstance(model, DistillationConfig):
        student, teacher = resized(model.student), resized(model.teacher)
        return dataclasses.replace(model, student=student, teacher=teacher)
    return dataclasses.replace(model, **SIZES)
