"""German to English on Multi30k with LSTMs and attention by dot products (Luong et al. 2015).

export FLAXFORMERS_DATA=...   # a folder that holds multi30k/train.de, train.en, val.de, ...
python -m train run configs/seq2seq/dot.py --workdir runs/seq2seq_dot

With input feeding, as configs/seq2seq_multi30k.py.
"""

from configs.seq2seq._multi30k import attentive
from train.experiment import Experiment


def config() -> Experiment:
    """The experiment."""
    return attentive("dot", hidden_size=192, attention="dot")
