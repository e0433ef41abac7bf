"""Training ideas: how an example is made, what the loss is, how a result is scored."""

from flaxformers_edu.objectives.bert_pretraining import BertPretraining
from flaxformers_edu.objectives.bidirectional_lm import BidirectionalLM
from flaxformers_edu.objectives.bptt_lm import BPTTLanguageModel
from flaxformers_edu.objectives.causal_lm import CausalLM
from flaxformers_edu.objectives.classification import Classification, Regression
from flaxformers_edu.objectives.distillation import (
    DistilMLM,
    HiddenDistillation,
    PredictionDistillation,
)
from flaxformers_edu.objectives.gpt1_tasks import (
    GPT1Classification,
    GPT1MultipleChoice,
    GPT1Regression,
)
from flaxformers_edu.objectives.losses import Loss, chunked_cross_entropy, cross_entropy
from flaxformers_edu.objectives.masked_lm import MaskedLM
from flaxformers_edu.objectives.masking import Masking
from flaxformers_edu.objectives.multiple_choice import MultipleChoice
from flaxformers_edu.objectives.prefix_lm import PrefixLM
from flaxformers_edu.objectives.question_answering import QuestionAnswering
from flaxformers_edu.objectives.replaced_tokens import ReplacedTokenDetection
from flaxformers_edu.objectives.scheduled_sampling import ScheduledSampling
from flaxformers_edu.objectives.tagging import Tagging
from flaxformers_edu.objectives.translation import Translation

OBJECTIVES = {
    "causal_lm": CausalLM,
    "bptt_lm": BPTTLanguageModel,
    "bidirectional_lm": BidirectionalLM,
    "prefix_lm": PrefixLM,
    "translation": Translation,
    "scheduled_sampling": ScheduledSampling,
    "masked_lm": MaskedLM,
    "bert_pretraining": BertPretraining,
    "replaced_tokens": ReplacedTokenDetection,
    "classification": Classification,
    "regression": Regression,
    "tagging": Tagging,
    "question_answering": QuestionAnswering,
    "multiple_choice": MultipleChoice,
    "gpt1_classification": GPT1Classification,
    "gpt1_regression": GPT1Regression,
    "gpt1_multiple_choice": GPT1MultipleChoice,
    "distil_mlm": DistilMLM,
    "hidden_distillation": HiddenDistillation,
    "prediction_distillation": PredictionDistillation,
}

__all__ = [
    "OBJECTIVES",
    "BPTTLanguageModel",
    "BertPretraining",
    "BidirectionalLM",
    "CausalLM",
    "Classification",
    "DistilMLM",
    "GPT1Classification",
    "GPT1MultipleChoice",
    "GPT1Regression",
    "HiddenDistillation",
    "Loss",
    "MaskedLM",
    "Masking",
    "MultipleChoice",
    "PredictionDistillation",
    "PrefixLM",
    "QuestionAnswering",
    "Regression",
    "ReplacedTokenDetection",
    "ScheduledSampling",
    "Tagging",
    "Translation",
    "chunked_cross_entropy",
    "cross_entropy",
]
