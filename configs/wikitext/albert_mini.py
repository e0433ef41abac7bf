"""A small ALBERT on WikiText-2.

export FLAXFORMERS_DATA=...   # a folder that holds wikitext-2/wiki.{train,valid}.tokens
python -m train run configs/wikitext/albert_mini.py --workdir runs/wikitext_albert

`python -m benchmarks.pretraining` trains it beside the others, at equal compute, and
fine-tunes them.
"""

from configs import albert_mini_stdlib
from configs.wikitext._corpus import on_wikitext
from train.experiment import Experiment


def config() -> Experiment:
    """The experiment."""
    return on_wikitext(albert_mini_stdlib.config(), steps=4000)
