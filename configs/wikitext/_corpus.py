"""What the small encoders on WikiText-2 have in common: corpus, vocabulary, and length."""

import dataclasses

from train.experiment import Experiment
from train.sources import TextFile

FOLDER = "$FLAXFORMERS_DATA/wikitext-2"


def on_wikitext(experiment: Experiment, *, steps: int) -> Experiment:
    """The same model and objective on WikiText-2, with twice the vocabulary."""
    return dataclasses.replace(
        experiment,
        name=experiment.name.replace("stdlib", "wikitext"),
        model=dataclasses.replace(experiment.model, vocab_size=8192),
        source=TextFile(
            train=f"{FOLDER}/wiki.train.tokens",
            validation=f"{FOLDER}/wiki.valid.tokens",
            unit="article",
        ),
        schedule=dataclasses.replace(experiment.schedule, warmup_steps=steps // 10),
        steps=steps,
        eval_every=steps // 10,
        checkpoint_every=steps // 5,
    )
