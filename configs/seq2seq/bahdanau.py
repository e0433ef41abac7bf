"""German to English on Multi30k with LSTMs in the wiring of Bahdanau et al. 2014.

export FLAXFORMERS_DATA=...   # a folder that holds multi30k/train.de, train.en, val.de, ...
python -m train run configs/seq2seq/bahdanau.py --workdir runs/seq2seq_bahdanau

The context is chosen before the step and enters it; the output layer reads a maxout.
"""

from configs.seq2seq._multi30k import attentive
from train.experiment import Experiment


def config() -> Experiment:
    """The experiment."""
    return attentive("bahdanau", hidden_size=176, attention="concat", wiring="bahdanau")
