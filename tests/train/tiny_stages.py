"""The language model of `tiny_streams`, and a classifier that begins from it: stages."""

import dataclasses
from pathlib import Path

from flaxformers_edu.objectives import Classification
from flaxformers_edu.optim.optimizers import Optimizer
from tests.train import tiny_classifier, tiny_streams
from train.experiment import Experiment

CONFIG = str(Path(__file__))


def stages() -> dict[str, Experiment]:
    """Two steps each."""
    language = tiny_streams.config(steps=2, nt_asgd=0)
    classifier = dataclasses.replace(
        language,
        name="tiny-stages-classifier",
        objective=Classification(),
        batching=tiny_classifier.config().batching,
        optimizer=Optimizer(layer_decay=1 / 2.6, layer_decay_above=1, unfreeze_every=1),
        schedule=tiny_classifier.config().schedule,
    )
    return {"language": language, "classifier": classifier}


def config() -> Experiment:
    """The first stage."""
    return stages()["language"]
