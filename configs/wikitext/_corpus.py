"""What the small encoders on WikiText-2 have in common: corpus, vocabulary, and length."""

import dataclasses
from typing import Any

from flaxformers_edu.models import DistillationConfig
from train.experiment import Experiment
from train.pipeline import Batching
from train.sources import TextFile

FOLDER = "$FLAXFORMERS_DATA/wikitext-2"
SIZES = {
    **{"vocab_size": 8192, "max_length": 128},
    # Of a text that is read two or three times there is nothing to forget.
    **{"dropout": 0.0, "attention_dropout": 0.0},
}


def on_wikitext(
    experiment: Experiment, *, steps: int, length: int = 32, rows: int = 16
) -> Experiment:
    """The same model and objective on WikiText-2, with twice the vocabulary.

    Rows are short at first, as in BERT's own training (its appendix A.2): attention that begins
    even over 32 positions finds out sooner that neighbours matter than one over 128.
    """
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
            tokens_per_batch=rows * length, max_source_length=length, buckets=(length,)
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
