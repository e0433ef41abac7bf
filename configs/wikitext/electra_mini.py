"""A small ELECTRA on WikiText-2.

export FLAXFORMERS_DATA=...   # a folder that holds wikitext-2/wiki.{train,valid}.tokens
python -m train run configs/wikitext/electra_mini.py --workdir runs/wikitext_electra

`python -m benchmarks.pretraining` trains it beside the others, at equal compute, and
fine-tunes them.
"""

from configs import electra_mini_stdlib
from configs.wikitext._corpus import on_wikitext
from train.experiment import Experiment


def config() -> Experiment:
    """The experiment."""
    return on_wikitext(electra_mini_stdlib.config(), steps=4000)
