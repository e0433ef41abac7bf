"""German to English on Multi30k with LSTMs through the bottleneck: no attention.

export FLAXFORMERS_DATA=...   # a folder that holds multi30k/train.de, train.en, val.de, ...
python -m train run configs/seq2seq/none.py --workdir runs/seq2seq_none

The decoder knows of the source what the encoder remembers at its end (Sutskever et al. 2014).
"""

from configs.seq2seq._multi30k import recurrent
from train.experiment import Experiment


def config() -> Experiment:
    """The experiment."""
    return recurrent("none", hidden_size=206, attention="none", reverse_source=False)
