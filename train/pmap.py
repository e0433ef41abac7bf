"""Data parallelism by hand, with `jax.pmap`: how JAX programs used to be spread over devices.

Every device holds a copy of the state and works on its rows; one `psum` adds up what they found.
`make_train_step` computes the same from shardings alone, and XLA finds the sum itself. This one is
for teaching and for comparison (docs/parallelism.md); `run` does not use it.

    step = make_pmap_step(model, objective, optimizer, learning_rate, seed=0)
    state = replicate(state)
    state, metrics = step(state, split(batch))  # numbers of each device, all equal
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import optax
from jaxtyping import Array

from train.protocols import Objective
from train.state import TrainState
from train.step import Metrics, TrainStep, make_gradients, make_update


def make_pmap_step(
    model: nn.Module,
    objective: Objective,
    optimizer: optax.GradientTransformation,
    learning_rate: Callable[[Array], Array],
    *,
    seed: int,
    ema_decay: float = 0.0,
) -> TrainStep:
    """(states, batches) -> (states, metrics), each with a leading axis of devices.

    As in `make_train_step`, sums are added up first and divided once: rows with few real tokens
    count for what they hold, on whichever device they are. Dropout differs from device to device,
    and so it is not that of `make_train_step`.
    """
    gradients = make_gradients(model, objective)
    update = make_update(optimizer, learning_rate, ema_decay)

    @partial(jax.pmap, axis_name="devices", donate_argnums=0)
    def train_step(state: TrainState, batch: Mapping[str, Array]) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(jax.random.key(seed), state.step)
        key = jax.random.fold_in(key, jax.lax.axis_index("devices"))
        if hasattr(objective, "scheduled"):
            batch = objective.scheduled(batch, state.updates)
        grads, loss = jax.lax.psum(gradients(state.params, batch, key)[0], "devices")
        return update(state, grads, loss)

    return train_step


def replicate(tree: Any) -> Any:
    """A copy for each device, along a leading axis."""
    return jax.pmap(lambda _: tree)(np.arange(jax.local_device_count()))


def split(batch: Mapping[str, Any]) -> dict[str, Any]:
    """The rows of a batch, shared out along a leading axis of devices."""
    devices = jax.local_device_count()
    return {name: x.reshape(devices, -1, *x.shape[1:]) for name, x in batch.items()}
