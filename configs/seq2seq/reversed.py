"""German to English on Multi30k with LSTMs, no attention, and the source read backwards.

export FLAXFORMERS_DATA=...   # a folder that holds multi30k/train.de, train.en, val.de, ...
python -m train run configs/seq2seq/reversed.py --workdir runs/seq2seq_reversed

Sutskever et al. 2014, section 3.3: the first words of both sides are then close to each other.
"""

from configs.seq2seq._multi30k import recurrent
from train.experiment import Experiment


def config() -> Experiment:
    """The experiment."""
    return recurrent("reversed", hidden_size=206, attention="none", reverse_source=True)
