"""German to English on Multi30k by scheduled sampling (Bengio et al. 2015).

export FLAXFORMERS_DATA=...   # a folder that holds multi30k/train.de, train.en, val.de, ...
python -m train run configs/seq2seq/sampling.py --workdir runs/seq2seq_sampling

The probability of reading the right word falls as 270 / (270 + e^(i/270)): it is 0.87 after 1,000
updates, a half after 1,500, and 0.14 at the end.
"""

import dataclasses

from configs.seq2seq_multi30k import config as general
from flaxformers_edu.objectives import ScheduledSampling
from train.experiment import Experiment


def config() -> Experiment:
    """The experiment."""
    objective = ScheduledSampling(label_smoothing=0.1, decay="inverse_sigmoid", k=270.0)
    return dataclasses.replace(general(), name="seq2seq_sampling", objective=objective)
