"""What the recurrent models on Multi30k have in common, from configs/seq2seq/transformer.py."""

import dataclasses
from typing import Any

from configs.seq2seq.transformer import config as transformer
from flaxformers_edu.models import Seq2SeqConfig
from train.experiment import Experiment


def recurrent(name: str, *, hidden_size: int, **fields: Any) -> Experiment:
    """The Transformer's experiment with a recurrent model of one layer and as many parameters.

    Data, vocabulary, steps, optimiser and rate are the same; embeddings are as wide as the layer
    and tied. One layer: with so few steps two (--model.num-layers 2) come less far.
    """
    experiment = transformer()
    model = Seq2SeqConfig(
        vocab_size=experiment.model.vocab_size,
        embedding_size=hidden_size,
        hidden_size=hidden_size,
        num_layers=1,
        tie_embeddings=True,
        dropout=experiment.model.dropout,
        **fields,
    )
    return dataclasses.replace(experiment, name=f"seq2seq_{name}", model=model)


def attentive(name: str, *, hidden_size: int, **fields: Any) -> Experiment:
    """One whose encoder reads in both directions, for a decoder that looks at all of its states."""
    settings = {"bidirectional": True, "reverse_source": False, **fields}
    return recurrent(name, hidden_size=hidden_size, **settings)
