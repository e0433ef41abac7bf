"""One update and one evaluation, as compiled functions of (state, batch)."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from train.experiment import Objective
from train.state import TrainState

Metrics = dict[str, Array]
TrainStep = Callable[[TrainState, Mapping[str, Array]], tuple[TrainState, Metrics]]


def make_train_step(
    model: nn.Module,
    objective: Objective,
    optimizer: optax.GradientTransformation,
    learning_rate: Callable[[Array], Array],
    *,
    seed: int,
    accumulation: int = 1,
    ema_decay: float = 0.0,
    shardings: TrainState | None = None,
) -> TrainStep:
    """(state, batch) -> (state, metrics), compiled once a batch shape; the old state is donated.

    `shardings` pins where the new state lies: where the old one did, or every step would compile
    again for what the last one left.

    With accumulation the batch's rows are split into equal parts, whose losses and gradients are
    added up; one division by the weight of all tokens follows. So parts with few real tokens count
    for what they hold, and the result is that of the whole batch at once.
    """

    def gradients(params: Any, batch: Mapping[str, Array], key: Array) -> tuple[Any, Any]:
        def loss_sum(params: Any) -> tuple[Array, Any]:
            loss = objective.loss(model, params, batch, key)
            return loss.sum, loss

        grads, loss = jax.grad(loss_sum, has_aux=True)(params)
        return grads, loss

    def accumulated(params: Any, batch: Mapping[str, Array], key: Array) -> tuple[Any, Any]:
        if accumulation == 1:
            return gradients(params, batch, key)
        # Interleaved rows, so that every part lies on all devices as the whole did.
        parts = jax.tree.map(
            lambda x: x.reshape(-1, accumulation, *x.shape[1:]).swapaxes(0, 1), dict(batch)
        )
        keys = jax.random.split(key, accumulation)
        shapes = jax.eval_shape(gradients, params, jax.tree.map(lambda x: x[0], parts), key)
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

        def add(total: Any, part: Any) -> tuple[Any, None]:
            return jax.tree.map(jnp.add, total, gradients(params, *part)), None

        return jax.lax.scan(add, zeros, (parts, keys))[0]

    @partial(jax.jit, donate_argnums=0, out_shardings=(shardings, None))
    def train_step(state: TrainState, batch: Mapping[str, Array]) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(jax.random.key(seed), state.step)
        grads, loss = accumulated(state.params, batch, key)
        weight = jnp.maximum(loss.weight, 1.0)
        grads = jax.tree.map(lambda g: g / weight.astype(g.dtype), grads)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        ema = state.ema
        if ema is not None:
            # Early on, average over what there is: the decay grows as (1 + t) / (10 + t).
            t = state.step.astype(jnp.float32)
            decay = jnp.minimum(ema_decay, (1 + t) / (10 + t))
            ema = jax.tree.map(lambda old, new: new + decay * (old - new), ema, params)
        metrics = {
            "loss": loss.sum / weight,
            "tokens": loss.weight,
            "grad_norm": optax.tree.norm(grads),
            # After the update: a finite loss may come with an update that is not.
            "param_norm": optax.tree.norm(params),
            "learning_rate": learning_rate(state.step),
            **{name: value / weight for name, value in loss.counts.items()},
        }
        return TrainState(state.step + 1, params, opt_state, ema), metrics

    return train_step


def make_eval_step(
    model: nn.Module, objective: Objective
) -> Callable[[Any, Mapping[str, Array]], Any]:
    """(params, batch) -> the objective's loss as (sum, weight, counts)."""

    @jax.jit
    def eval_step(params: Any, batch: Mapping[str, Array]) -> Any:
        return objective.loss(model, params, batch, None)

    return eval_step
