"""A ladder: one experiment at several sizes and lengths, and what each of its points will cost.

A config of a ladder has `config()`, the experiment that all points share, and `ladder(base)`, the
points made from it: an override on the command line reaches every point that way.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax

from flaxformers_edu.errors import InputError
from train.experiment import Experiment
from train.measure import step_flops
from train.saved import differences, to_json
from train.state import abstract_params

NOT_COUNTED = re.compile(r"(^|/)embedding$|position")
"""Kaplan et al. 2020, section 2.1: embeddings of tokens and positions are not counted."""


@dataclasses.dataclass(frozen=True)
class Point:
    """One run of a ladder."""

    name: str
    """Of its folder."""
    experiment: Experiment
    budget: float = 0.0
    """FLOPs that it shares with the points of its IsoFLOP profile; 0: it belongs to none."""


Ladder = Callable[[Experiment], Sequence[Point]]


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a point will take, before it runs."""

    params: int
    """Without embeddings."""
    total_params: int
    tokens: int
    """Steps times the budget of a batch: padding included."""
    flops_per_token: float
    """Closed form, of training: forward, and twice as much backward."""

    @property
    def flops(self) -> float:
        """Closed form, of the whole training."""
        return self.flops_per_token * self.tokens

    @property
    def six_nd(self) -> float:
        """The rule of thumb: 6 N D."""
        return 6.0 * self.total_params * self.tokens


def cost_of(experiment: Experiment) -> Cost:
    """Counts by shapes: nothing is allocated."""
    model = experiment.model.build(experiment.objective.task)
    shapes = nn.meta.unbox(abstract_params(model))
    counted = total = 0
    for path, leaf in jax.tree_util.tree_leaves_with_path(shapes):
        size = math.prod(leaf.shape)
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        total += size
        counted += 0 if NOT_COUNTED.search(name) else size
    tokens = experiment.steps * experiment.batching.tokens_per_batch
    return Cost(counted, total, tokens, training_flops_per_token(experiment))


def make_points(ladder: Ladder, default: Experiment, given: Experiment) -> tuple[Point, ...]:
    """The points of `given`, the shared experiment with what the command line changed in it.

    Raises:
        InputError: a name twice, losses that could not be compared, or a changed field that the
            ladder itself sets.
    """
    points = tuple(ladder(given))
    names = [point.name for point in points]
    if not points or len(set(names)) < len(names):
        raise InputError("a ladder needs points, each with a name of its own")
    for field in ("source", "objective"):
        if any(getattr(p.experiment, field) != getattr(given, field) for p in points):
            raise InputError(f"losses of different {field}s cannot be compared: a ladder has one")
    if len({point.experiment.model.vocab_size for point in points}) > 1:
        raise InputError("losses of different vocabularies cannot be compared: a ladder has one")
    for path, _, value in differences(to_json(default), to_json(given)):
        for point in points:
            if (found := _leaf(to_json(point.experiment), path)) != value:
                raise InputError(
                    f"{path} is set by the ladder itself ({found!r} at {point.name}): it cannot be "
                    "changed on the command line"
                )
    return points


def training_flops_per_token(experiment: Experiment) -> float:
    """Closed form, of a row of the greatest length (of a pair: a token of its target)."""
    length = experiment.batching.max_length
    shapes = dict.fromkeys(("input_ids", "decoder_input_ids"), (1, length))
    return step_flops(experiment, shapes) / length


def parametrisation_of(model: Any) -> str:
    """What a model config's parametrisation is called."""
    return "muP" if getattr(model, "mup_base_width", 0) else "standard parametrisation"


def _leaf(tree: Any, path: str) -> Any:
    for key in path.split("."):
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def isoflop_steps(experiment: Experiment, budget: float) -> int:
    """Steps after which training has taken `budget` FLOPs."""
    per_step = training_flops_per_token(experiment) * experiment.batching.tokens_per_batch
    return max(1, round(budget / per_step))
