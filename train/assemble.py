"""Where the fields of an Experiment become a training step, for `run` and for `plan` alike.

Shapes come first: nothing here makes an array or compiles, but for `initial_state`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import optax
from jax.sharding import Mesh

from train.experiment import Experiment
from train.state import TrainState, abstract_params, abstract_state, create_state, shardings_of
from train.step import TrainStep, make_train_step


@dataclass(frozen=True)
class Assembled:
    """An experiment on a mesh, before there is any array."""

    experiment: Experiment
    mesh: Mesh
    learning_rate: Callable[[Any], Any]
    """By the number of updates made."""
    optimizer: optax.GradientTransformation
    state: TrainState
    """Shapes, types and shardings of the training state."""

    @property
    def model(self) -> nn.Module:
        """The module."""
        return self.experiment.model.build(self.experiment.objective.task)

    def initial_state(self) -> TrainState:
        """The state of step 0, every array where it belongs."""
        experiment = self.experiment
        return create_state(
            self.model, self.optimizer, self.mesh, seed=experiment.seed, **experiment.state_parts
        )

    def step(self, accumulation: int | Callable[[int], int]) -> TrainStep:
        """(state, batch) -> (state, metrics), jitted.

        accumulation: parts of a batch, or a function from its rows to them (`TrainData`).
        """
        experiment = self.experiment
        return make_train_step(
            self.model,
            experiment.objective,
            self.optimizer,
            self.learning_rate,
            seed=experiment.seed,
            accumulation=accumulation,
            ema_decay=experiment.ema_decay,
            measure_noise=experiment.noise_scale,
            bad_steps=experiment.bad_steps,
            frozen=experiment.optimizer.frozen,
            shardings=shardings_of(self.state),
        )


def assemble(experiment: Experiment, mesh: Mesh) -> Assembled:
    """All that a training of `experiment` on `mesh` is made of, but for its data.

    Raises:
        InputError: a parameter that does not divide over the mesh, or a pattern of the optimiser
            that covers none.
    """
    model = experiment.model.build(experiment.objective.task)
    learning_rate = experiment.schedule.build(experiment.steps)
    params = nn.meta.unbox(abstract_params(model))
    optimizer = experiment.optimizer.build(learning_rate, params)
    state = abstract_state(model, optimizer, mesh, **experiment.state_parts)
    return Assembled(experiment, mesh, learning_rate, optimizer, state)
