"""Training ideas: how an example is made, what the loss is, how a result is scored."""

from flaxformers_edu.objectives.bert_pretraining import BertPretraining
from flaxformers_edu.objectives.causal_lm import CausalLM
from flaxformers_edu.objectives.classification import Classification, Regression
from flaxformers_edu.objectives.distillation import (
    DistilMLM,
    HiddenDistillation,
    PredictionDistillation,
)
from flaxformers_edu.objectives.losses import Loss, chunked_cross_entropy, cross_entropy
from flaxformers_edu.objectives.masked_lm import MaskedLM
from flaxformers_edu.objectives.masking import Masking
from flaxformers_edu.objectives.multiple_choice import MultipleChoice
from flaxformers_edu.objectives.question_answering import QuestionAnswering
from flaxformers_edu.objectives.replaced_tokens import ReplacedTokenDetection
from flaxformers_edu.objectives.tagging import Tagging
from flaxformers_edu.objectives.translation import Translation

OBJECTIVES = {
    "causal_lm": CausalLM,
    "translation": Translation,
    "masked_lm": MaskedLM,
    "bert_pretraining": BertPretraining,
    "replaced_tokens": ReplacedTokenDetection,
    "classification": Classification,
    "regression": Regression,
    "tagging": Tagging,
    "question_answering": QuestionAnswering,
    "multiple_choice": MultipleChoice,
    "distil_mlm": DistilMLM,
    "hidden_distillation": HiddenDistillation,
    "prediction_distillation": PredictionDistillation,
}

__all__ = [
    "OBJECTIVES",
    "BertPretraining",
    "CausalLM",
    "Classification",
    "DistilMLM",
    "HiddenDistillation",
    "Loss",
    "MaskedLM",
    "Masking",
    "MultipleChoice",
    "PredictionDistillation",
    "QuestionAnswering",
    "Regression",
    "ReplacedTokenDetection",
    "Tagging",
    "Translation",
    "chunked_cross_entropy",
    "cross_entropy",
]
