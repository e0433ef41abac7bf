"""A small ELMo on WikiText-2: what configs/finetune/elmo_* read.

export FLAXFORMERS_DATA=...   # a folder that holds wikitext-2/wiki.{train,valid}.tokens
python -m train run configs/wikitext/elmo_mini.py --workdir runs/wikitext_elmo

The model of configs/elmo_mini.py with 16,384 words in its vocabulary and 2,048 of them sampled for
each batch. It sees the corpus about four times.
"""

import dataclasses

from configs import elmo_mini
from configs.wikitext._corpus import FOLDER
from train.experiment import Experiment
from train.pipeline import Batching
from train.sources import TextFile

LENGTH, ROWS, STEPS = 32, 64, 4800


def config() -> Experiment:
    """The experiment."""
    mini = elmo_mini.config()
    return dataclasses.replace(
        mini,
        name="elmo_mini_wikitext",
        model=dataclasses.replace(mini.model, vocab_size=16384),
        objective=dataclasses.replace(mini.objective, negatives=2048),
        source=TextFile(
            train=f"{FOLDER}/wiki.train.tokens",
            validation=f"{FOLDER}/wiki.valid.tokens",
            unit="article",
        ),
        batching=Batching(
            tokens_per_batch=ROWS * LENGTH, max_source_length=LENGTH, buckets=(LENGTH,)
        ),
        schedule=dataclasses.replace(mini.schedule, warmup_steps=STEPS // 10),
        steps=STEPS,
        eval_every=STEPS // 8,
        checkpoint_every=STEPS // 8,
    )
