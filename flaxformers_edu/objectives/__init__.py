"""Training ideas: how an example is made, what the loss is, how a result is scored."""

from flaxformers_edu.objectives.losses import Loss, cross_entropy
from flaxformers_edu.objectives.translation import Translation

OBJECTIVES = {"translation": Translation}

__all__ = ["OBJECTIVES", "Loss", "Translation", "cross_entropy"]
