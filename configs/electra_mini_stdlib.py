"""A small ELECTRA on the docstrings of Python's standard library: find the replaced tokens.

    python -m train run configs/electra_mini_stdlib.py --workdir runs/electra_mini

As bert_mini_stdlib, with a generator of half the width beside the discriminator, and at a third of
the rate: at the same one the discriminator of configs/wikitext/electra_mini.py died.
"""

import dataclasses

from configs.bert_mini_stdlib import LENGTH, SIZES, VOCABULARY, mini
from flaxformers_edu.models import ElectraConfig
from flaxformers_edu.objectives import ReplacedTokenDetection
from train.experiment import Experiment


def config() -> Experiment:
    """The experiment."""
    model = ElectraConfig(
        **VOCABULARY, **SIZES, generator_fraction=0.5, max_length=LENGTH, layout="unrolled"
    )
    experiment = mini("electra_mini_stdlib", model, ReplacedTokenDetection())
    schedule = dataclasses.replace(experiment.schedule, peak=3e-4)
    return dataclasses.replace(experiment, schedule=schedule)
