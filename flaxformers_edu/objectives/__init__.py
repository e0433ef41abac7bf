"""Training ideas: how an example is made, what the loss is, how a result is scored."""

from flaxformers_edu.objectives.causal_lm import CausalLM
from flaxformers_edu.objectives.losses import Loss, chunked_cross_entropy, cross_entropy
from flaxformers_edu.objectives.translation import Translation

OBJECTIVES = {"causal_lm": CausalLM, "translation": Translation}

__all__ = [
    "OBJECTIVES",
    "CausalLM",
    "Loss",
    "Translation",
    "chunked_cross_entropy",
    "cross_entropy",
]
