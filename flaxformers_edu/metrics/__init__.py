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
from flaxformers_edu.metrics.entities import Entity, entities, entity_scores
from flaxformers_edu.metrics.glue import GLUE, matthews, pearson, spearman
from flaxformers_edu.metrics.rouge import rouge_scores
from flaxformers_edu.metrics.squad import best_thresholds, squad_scores

__all__ = [
    "GLUE",
    "Bleu",
    "Entity",
    "Mean",
    "Scores",
    "best_thresholds",
    "bleu_by_length",
    "corpus_bleu",
    "entities",
    "entity_scores",
    "matthews",
    "merge",
    "pearson",
    "perplexity",
    "precision_recall_f",
    "rouge_scores",
    "sacrebleu_score",
    "sentence_bleu",
    "spearman",
    "squad_scores",
    "token_accuracy",
]
