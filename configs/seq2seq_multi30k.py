"""German to English on Multi30k with LSTMs and Luong's general attention, input feeding included.

export FLAXFORMERS_DATA=...   # a folder that holds multi30k/train.de, train.en, val.de, ...
python -m train run configs/seq2seq_multi30k.py --workdir runs/seq2seq_multi30k

The data, the steps and the number of parameters of configs/seq2seq/transformer.py; its variants are
in configs/seq2seq, and `python -m benchmarks.seq2seq` compares them, docs/seq2seq.md.
"""

from configs.seq2seq._multi30k import attentive
from train.experiment import Experiment


def config() -> Experiment:
    """The experiment."""
    return attentive("multi30k", hidden_size=188, attention="general")
