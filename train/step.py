"""One update and one evaluation, as compiled functions of (state, batch)."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from flaxformers_edu.optim import match_paths, noise_scale
from train.bad_steps import BadSteps, guarded
from train.protocols import CarryingObjective, Objective, PredictingObjective
from train.state import TrainState

Metrics = dict[str, Array]
TrainStep = Callable[..., tuple[TrainState, Metrics]]
"""(state, batch, key's data) -> (state, metrics)."""


def make_train_step(
    model: nn.Module,
    objective: Objective,
    optimizer: optax.GradientTransformation,
    learning_rate: Callable[[Array], Array],
    *,
    seed: int,
    accumulation: int | Callable[[int], int] = 1,
    ema_decay: float = 0.0,
    measure_noise: bool = False,
    bad_steps: BadSteps | None = None,
    frozen: Sequence[str] = (),
    shardings: TrainState | None = None,
) -> TrainStep:
    """(state, batch) -> (state, metrics), compiled once a batch shape; the old state is donated.

    A third argument is the data of a key (`key_of`) in place of the seed's: a program that is told
    its key serves all seeds.

    `shardings` pins where the new state lies: where the old one did, or every step would compile
    again for what the last one left.

    With accumulation the batch's rows are split into so many equal parts (a number, or a function
    of the rows), whose losses and gradients are added up; one division by the weight of all tokens
    follows. So parts with few real tokens count for what they hold, and the result is that of the
    whole batch at once.

    Parameters whose names match `frozen` are constants: the backward pass ends above them.

    Of an objective that carries state, `state.carried` goes into a step and comes out of it.

    The state must have what `measure_noise` (for at least two parts) and `bad_steps` keep in it.
    """
    gradients = make_gradients(model, objective, frozen)
    update: Callable[..., tuple[TrainState, Metrics]]
    update = make_update(optimizer, learning_rate, ema_decay)
    if measure_noise:
        gradients, update = measured_parts(gradients), measured_noise(update)
    if bad_steps is not None and bad_steps.guarded:
        update = guarded(update, bad_steps)

    def accumulated(
        params: Any, batch: Mapping[str, Array], key: Array, carried: Any
    ) -> tuple[tuple[Any, ...], Any]:
        rows = len(jax.tree.leaves(batch)[0])
        number = accumulation(rows) if callable(accumulation) else accumulation
        if number == 1:
            return gradients(params, batch, key, carried)
        # Interleaved rows, so that every part lies on all devices as the whole did.
        batches, memories = jax.tree.map(
            lambda x: x.reshape(-1, number, *x.shape[1:]).swapaxes(0, 1), (dict(batch), carried)
        )
        parts = (batches, jax.random.split(key, number), memories)
        first = jax.tree.map(lambda x: x[0], parts)
        shapes, _ = jax.eval_shape(gradients, params, *first)
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

        def add(total: Any, part: Any) -> tuple[Any, Any]:
            found, after = gradients(params, *part)
            return jax.tree.map(jnp.add, total, found), after

        found, memories = jax.lax.scan(add, zeros, parts)
        return found, jax.tree.map(lambda x: x.swapaxes(0, 1).reshape(rows, *x.shape[2:]), memories)

    @partial(jax.jit, donate_argnums=0, out_shardings=(shardings, None))
    def train_step(
        state: TrainState, batch: Mapping[str, Array], key_data: Any = None
    ) -> tuple[TrainState, Metrics]:
        own = jax.random.key(seed) if key_data is None else jax.random.wrap_key_data(key_data)
        key = jax.random.fold_in(own, state.step)
        if hasattr(objective, "scheduled"):
            batch = objective.scheduled(batch, state.updates)
        found, carried = accumulated(state.params, batch, key, state.carried)
        factor = objective.update_factor(batch) if hasattr(objective, "update_factor") else None
        new, metrics = update(state, *found, carried=carried, factor=factor)
        return new, metrics | real_tokens(batch)

    return train_step


def key_of(seed: int) -> np.ndarray:
    """The data of a seed's key, on the host."""
    return np.asarray(jax.random.key_data(jax.random.key(seed)))


def real_tokens(batch: Mapping[str, Array]) -> Metrics:
    """Tokens that are not padding, on the target's side where there is one; as a metric.

    Not the loss's weight, which counts sentences in one objective and hidden tokens in another; it
    has to do where a batch has no mask.
    """
    masks = [batch[n] for n in ("decoder_attention_mask", "attention_mask") if n in batch]
    return {"tokens": masks[0].sum(dtype=jnp.float32)} if masks else {}


def measured_parts(gradients: Callable[..., tuple[Any, Any]]) -> Callable[..., tuple[Any, ...]]:
    """The gradients of a part, and what its size and its norm say of the noise."""

    def measured(*arguments: Any) -> tuple[tuple[Any, ...], Any]:
        (grads, loss), carried = gradients(*arguments)
        return (grads, loss, noise_scale.Parts.of(grads, loss.weight)), carried

    return measured


def measured_noise(
    update: Callable[..., tuple[TrainState, Metrics]],
) -> Callable[..., tuple[TrainState, Metrics]]:
    """An update (state, grads, loss, parts) whose metrics have the gradient's noise scale."""

    def measured(
        state: TrainState, grads: Any, loss: Any, parts: noise_scale.Parts, **more: Any
    ) -> tuple[TrainState, Metrics]:
        assert state.noise is not None
        new, metrics = update(state, grads, loss, **more)
        found = noise_scale.estimate(parts, metrics["grad_norm"] ** 2, loss.weight)
        known = jnp.isfinite(found["noise_trace"])
        noise = state.noise.add(found, noise_scale.WINDOW, where=known)
        metrics |= {**found, "noise_scale": noise_scale.critical_batch(**noise.mean)}
        return dataclasses.replace(new, noise=noise), metrics

    return measured


def make_gradients(
    model: nn.Module, objective: Objective, frozen: Sequence[str] = ()
) -> Callable[..., tuple[Any, Any]]:
    """(params, batch, key, what is carried) -> (found, what is carried after the batch).

    `found` is to be added up: the gradients of the loss's sum, and the loss.
    """

    def gradients(
        params: Any, batch: Mapping[str, Array], key: Array, carried: Any = None
    ) -> tuple[tuple[Any, Any], Any]:
        # Profiles show the forward pass as jvp(loss), the backward pass as transpose(jvp(loss)).
        @jax.named_scope("loss")
        def loss_sum(params: Any) -> tuple[Array, tuple[Any, Any]]:
            if frozen:
                still = match_paths(params, frozen)
                params = jax.tree.map(
                    lambda p, stands: jax.lax.stop_gradient(p) if stands else p, params, still
                )
            if carried is None:
                loss, after = objective.loss(model, params, batch, key), None
            else:
                remembering = cast(CarryingObjective, objective)
                loss, after = remembering.carried_loss(model, params, batch, key, carried)
            return loss.sum, (loss, after)

        grads, (loss, after) = jax.grad(loss_sum, has_aux=True)(params)
        return (grads, loss), after

    return gradients


def make_update(
    optimizer: optax.GradientTransformation,
    learning_rate: Callable[[Array], Array],
    ema_decay: float = 0.0,
) -> Callable[..., tuple[TrainState, Metrics]]:
    """(state, gradients of the loss's sum, the loss) -> (state, metrics): the one division.

    Beside these it takes what is `carried` after the batch, and a `factor` on the learning rate.
    """

    def update(
        state: TrainState, grads: Any, loss: Any, *, carried: Any = None, factor: Any = None
    ) -> tuple[TrainState, Metrics]:
        weight = jnp.maximum(loss.weight, 1.0)
        grads = jax.tree.map(lambda g: g / weight.astype(g.dtype), grads)
        with jax.named_scope("optimizer"):
            updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
            if factor is not None:
                updates = jax.tree.map(lambda u: u * factor.astype(u.dtype), updates)
            params = optax.apply_updates(state.params, updates)
        ema, averaged = state.ema, state.averaged
        if ema is not None:
            if averaged is None:
                # Early on, average over what there is: the decay grows as (1 + t) / (10 + t).
                t = state.updates.astype(jnp.float32)
                decay = jnp.minimum(ema_decay, (1 + t) / (10 + t))
            else:
                averaged = averaged + (averaged >= 0)
                decay = 1 - 1 / jnp.maximum(averaged, 1).astype(jnp.float32)
            ema = jax.tree.map(lambda old, new: new + decay * (old - new), ema, params)
        metrics = {
            "loss": loss.sum / weight,
            "tokens": loss.weight,
            "grad_norm": optax.tree.norm(grads),
            # After the update: a finite loss may come with an update that is not.
            "param_norm": optax.tree.norm(params),
            "learning_rate": learning_rate(state.updates) * (1.0 if factor is None else factor),
            **{name: value / weight for name, value in loss.counts.items()},
        }
        new = dataclasses.replace(
            state,
            step=state.step + 1,
            params=params,
            opt_state=opt_state,
            ema=ema,
            averaged=averaged,
            carried=carried,
        )
        return new, metrics

    return update


def make_eval_step(
    model: nn.Module, objective: Objective
) -> Callable[[Any, Mapping[str, Array]], Any]:
    """(params, batch) -> the objective's loss as (sum, weight, counts)."""

    @jax.jit
    def eval_step(params: Any, batch: Mapping[str, Array]) -> Any:
        return objective.loss(model, params, batch, None)

    return eval_step


def make_carried_eval_step(
    model: nn.Module, objective: CarryingObjective
) -> Callable[[tuple[Any, Any], Mapping[str, Array]], tuple[Any, Any]]:
    """((params, carried), batch) -> the loss, and what is carried after the batch."""

    @jax.jit
    def eval_step(state: tuple[Any, Any], batch: Mapping[str, Array]) -> tuple[Any, Any]:
        params, carried = state
        return objective.carried_loss(model, params, batch, None, carried)

    return eval_step


def make_predict_step(
    model: nn.Module, objective: PredictingObjective
) -> Callable[[Any, Mapping[str, Array]], tuple[Any, dict[str, Array]]]:
    """(params, batch) -> the loss and the predictions."""

    @jax.jit
    def predict_step(params: Any, batch: Mapping[str, Array]) -> tuple[Any, dict[str, Array]]:
        loss = objective.loss(model, params, batch, None)
        return loss, objective.predict(model, params, batch)

    return predict_step
