r"""A small ALBERT on WikiText-2: rows of 32 tokens, then some of 128.

export FLAXFORMERS_DATA=...   # a folder that holds wikitext-2/wiki.{train,valid}.tokens
python -m train run configs/wikitext/albert_mini.py --workdir runs/albert_32
python -m train run configs/wikitext/albert_mini.py --workdir runs/albert --init runs/albert_32 \
    --batching.max-source-length 128 --batching.buckets 128 --batching.tokens-per-batch 1024 \
    --steps 1500 --schedule.warmup-steps 150

`python -m benchmarks.pretraining` trains it beside the others, at equal compute, and
fine-tunes them.
"""

from configs import albert_mini_stdlib
from configs.wikitext._corpus import on_wikitext
from train.experiment import Experiment


def config() -> Experiment:
    """The experiment."""
    return on_wikitext(albert_mini_stdlib.config(), steps=12000)
