"""Schedules and optimisers: thin, typed compositions of optax."""

from flaxformers_edu.optim.optimizers import Optimizer
from flaxformers_edu.optim.paths import match_paths
from flaxformers_edu.optim.schedules import Schedule

__all__ = ["Optimizer", "Schedule", "match_paths"]
