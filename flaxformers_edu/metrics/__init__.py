"""Pure accumulators and published scorers."""

from flaxformers_edu.metrics.accumulators import Mean, merge, perplexity, token_accuracy
from flaxformers_edu.metrics.bleu import (
    Bleu,
    bleu_by_length,
    corpus_bleu,
    sacrebleu_score,
    sentence_bleu,
)
from flaxformers_edu.metrics.classification import Scores, precision_recall_f

__all__ = [
    "Bleu",
    "Mean",
    "Scores",
    "bleu_by_length",
    "corpus_bleu",
    "merge",
    "perplexity",
    "precision_recall_f",
    "sacrebleu_score",
    "sentence_bleu",
    "token_accuracy",
]
