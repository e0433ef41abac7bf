"""German to English on Multi30k with a Transformer as small as the recurrent models beside it.

export FLAXFORMERS_DATA=...   # a folder that holds multi30k/train.de, train.en, val.de, ...
python -m train run configs/seq2seq/transformer.py --workdir runs/seq2seq_transformer

Three times over the captions in batches of a quarter of configs/translate_multi30k.py's, with a
third of its parameters: too short for much dropout, and made for a quarter of an hour on one core.
"""

import dataclasses

from configs.translate_multi30k import config as larger
from train.experiment import Experiment


def config() -> Experiment:
    """The experiment."""
    experiment = larger()
    sizes = {"hidden_size": 128, "intermediate_size": 256, "dropout": 0.1}
    return dataclasses.replace(
        experiment,
        name="seq2seq_transformer",
        model=dataclasses.replace(experiment.model, **sizes),
        batching=dataclasses.replace(experiment.batching, tokens_per_batch=1024),
        schedule=dataclasses.replace(experiment.schedule, peak=5e-3),
        ema_decay=0.99,
        steps=2000,
        eval_every=400,
        checkpoint_every=400,
    )
