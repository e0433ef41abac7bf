"""A training step whose gradient is known: the loss of a row x is |w - x|² / 2.

The objective needs no model, and a step compiles in no time.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from flaxformers_edu.objectives.losses import Loss
from flaxformers_edu.optim.noise_scale import NOISE
from flaxformers_edu.optim.running import RunningMean
from train.bad_steps import BadSteps, Guard
from train.state import TrainState
from train.step import make_train_step

MEAN = np.array([3.0, -4.0], np.float32)


class Quadratic:
    def loss(self, model: Any, params: Any, batch: Any, key: Any) -> Loss:
        squares_B = 0.5 * jnp.square(params["w"][None] - batch["x"]).sum(axis=-1)
        real_B = batch["real"].astype(jnp.float32)
        return Loss(sum=(squares_B * real_B).sum(), weight=real_B.sum(), counts={})


def batch(x: float | np.ndarray = 0.0, rows: int = 8) -> dict[str, np.ndarray]:
    """Rows around MEAN, moved by x."""
    x_BD = np.broadcast_to(MEAN + np.asarray(x, np.float32), (rows, 2)).astype(np.float32)
    return {"x": x_BD, "real": np.ones(rows, np.int32)}


def state(
    optimizer: optax.GradientTransformation, *, guard: bool = False, noise: bool = False
) -> TrainState:
    params = {"w": jnp.zeros(2)}
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt_state=optimizer.init(params),
        ema=jax.tree.map(jnp.copy, params),
        guard=Guard.initial() if guard else None,
        noise=RunningMean.of(*NOISE) if noise else None,
    )


def step(optimizer: optax.GradientTransformation, policy: BadSteps | None = None, **settings: Any):
    model: Any = None
    objective: Any = Quadratic()
    settings = {"ema_decay": 0.5, "bad_steps": policy} | settings
    return make_train_step(model, objective, optimizer, lambda step: step / 10, seed=0, **settings)
