"""German to English on Multi30k with LSTMs and Luong's concat score.

export FLAXFORMERS_DATA=...   # a folder that holds multi30k/train.de, train.en, val.de, ...
python -m train run configs/seq2seq/concat.py --workdir runs/seq2seq_concat

With input feeding, as configs/seq2seq_multi30k.py.
"""

from configs.seq2seq._multi30k import attentive
from train.experiment import Experiment


def config() -> Experiment:
    """The experiment."""
    return attentive("concat", hidden_size=186, attention="concat")
