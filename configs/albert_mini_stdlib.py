"""A small ALBERT on the docstrings of Python's standard library: one layer's parameters for all.

    python -m train run configs/albert_mini_stdlib.py --workdir runs/albert_mini

As bert_mini_stdlib, with factorised embeddings, runs of up to three words hidden together, and the
order of two segments in place of the next sentence.
"""

from configs.bert_mini_stdlib import LENGTH, SIZES, VOCABULARY, mini
from flaxformers_edu.models import AlbertConfig
from flaxformers_edu.objectives import BertPretraining, Masking
from train.experiment import Experiment


def config() -> Experiment:
    """The experiment."""
    model = AlbertConfig(
        **VOCABULARY, **SIZES, embedding_size=64, max_length=LENGTH, layout="unrolled"
    )
    masking = Masking(whole_words=True, max_ngram=3)
    objective = BertPretraining(pairs="sop", masking=masking, duplicates=10)
    return mini("albert_mini_stdlib", model, objective)
