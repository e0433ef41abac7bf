"""English to Korean on a generated corpus with LSTMs and attention: the whole road in minutes.

python -m train run configs/seq2seq_toy.py --workdir runs/seq2seq_toy

The corpus, the vocabulary and the steps of configs/translate_toy.py. Every sentence's order is
turned round in Korean, which the pictures of attention in its report show.
"""

import dataclasses

from configs.translate_toy import config as transformer
from flaxformers_edu.models import Seq2SeqConfig
from train.experiment import Experiment


def config() -> Experiment:
    """The experiment."""
    experiment = transformer()
    model = Seq2SeqConfig(
        vocab_size=experiment.model.vocab_size,
        embedding_size=192,
        hidden_size=192,
        num_layers=1,
        bidirectional=True,
        reverse_source=False,
        attention="general",
        tie_embeddings=True,
        dropout=0.1,
    )
    return dataclasses.replace(experiment, name="seq2seq_toy", model=model)
