"""The coordinate check of muP: how far activations move in the first steps, width by width.

Yang et al. 2022 (Tensor Programs V), appendix D.1: a parametrisation that lets one learning rate
serve all widths moves every coordinate of every activation by as much at each of them. Where the
change grows with the width, the best learning rate falls with it.

Dims: S updates, B batch, T length, D hidden size, L layers.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from flaxformers_edu.optim.optimizers import Optimizer
from train.protocols import Objective
from train.report.style import new_figure, save, style
from train.scaling.batches import random_batch
from train.scaling.ladder import Point, parametrisation_of
from train.scaling.plots import shades
from train.scaling.table import table

Batch = Mapping[str, Any]
Changes = dict[str, Float[np.ndarray, "S"]]
ROWS, UPDATES = 16, 5


def coordinate_changes(
    model: nn.Module,
    objective: Objective,
    optimizer: Optimizer,
    batches: Sequence[Batch],
    *,
    learning_rate: float,
    seed: int = 0,
) -> Changes:
    """Mean |x_s - x_0| of the coordinates of activations on the first batch, after each update.

    Args:
        model: one whose layers note their "hidden_state".
        objective: how the model is trained.
        optimizer: with the rate factors of the model's parametrisation.
        batches: one an update.
        learning_rate: the same at every step.
        seed: of the parameters.

    Returns:
        "layer 1", "layer 2", ... and "logits": the change after each update.
    """
    m: Any = model
    params = nn.meta.unbox(m.init(jax.random.key(seed), **m.dummy_inputs())["params"])
    transformation = optimizer.build(learning_rate, params)

    @jax.jit
    def update(params: Any, state: Any, batch: Batch) -> tuple[Any, Any]:
        def mean_loss(params: Any) -> Array:
            loss = objective.loss(model, params, batch, None)
            return loss.sum / jnp.maximum(loss.weight, 1.0)

        updates, state = transformation.update(jax.grad(mean_loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    @jax.jit
    def activations(params: Any, batch: Batch) -> dict[str, Array]:
        inputs = {name: x for name, x in batch.items() if name != "labels"}
        output, seen = m.apply({"params": params}, **inputs, mutable=["intermediates"])
        hidden_LBTD = seen["intermediates"]["decoder"]["hidden_state"]
        layers = {f"layer {i}": x_BTD for i, x_BTD in enumerate(hidden_LBTD, start=1)}
        return {**layers, "logits": output.logits}

    state, first = transformation.init(params), activations(params, batches[0])
    changes: dict[str, list[float]] = {name: [] for name in first}
    for batch in batches:
        params, state = update(params, state, batch)
        for name, x in activations(params, batches[0]).items():
            changes[name].append(float(jnp.abs(x - first[name]).mean()))
    return {name: np.array(values) for name, values in changes.items()}


def check_coordinates(points: Sequence[Point]) -> dict[str, dict[int, Changes]]:
    """Parametrisation -> width -> changes, for each model of a ladder, at one learning rate.

    It is that of the first point: a check of a parametrisation changes the width alone. Batches
    are of random tokens, and gradients are not clipped.
    """
    rate = points[0].experiment.schedule.peak
    found: dict[str, dict[int, Changes]] = {}
    for point in points:
        experiment = point.experiment
        by_width = found.setdefault(parametrisation_of(experiment.model), {})
        if (width := experiment.model.hidden_size) in by_width:
            continue
        length = experiment.batching.max_length
        by_width[width] = coordinate_changes(
            experiment.model.build(experiment.objective.task),
            experiment.objective,
            dataclasses.replace(experiment.optimizer, clip_norm=0.0),
            [random_batch(experiment, ROWS, length, seed) for seed in range(UPDATES)],
            learning_rate=rate,
        )
    return found


def growth(by_width: Mapping[int, Changes], name: str) -> float:
    """The exponent p of change ~ width^p after the last update: 0 is flat."""
    widths = sorted(by_width)
    last = [by_width[width][name][-1] for width in widths]
    return float(np.polyfit(np.log(widths), np.log(last), 1)[0])


def coordinates_table(checks: Mapping[str, Mapping[int, Changes]]) -> str:
    """Changes after the last update by width, and how they grow."""
    rows = []
    widths = sorted({width for by_width in checks.values() for width in by_width})
    for title, by_width in checks.items():
        for name in next(iter(by_width.values())):
            last = (f"{by_width[w][name][-1]:.3g}" if w in by_width else "" for w in widths)
            rows.append((f"{title}: {name}", *last, f"width^{growth(by_width, name):.2f}"))
    return table(("mean change of a coordinate", *map(str, widths), "growth"), rows)


def draw_coordinates(path: Path, checks: Mapping[str, Mapping[int, Changes]]) -> Path:
    """Change by width, a line an update; a row a parametrisation, a column an activation.

    checks: parametrisation -> width -> changes.
    """
    names = list(next(iter(next(iter(checks.values())).values())))
    with style():
        figure = new_figure(3.6 * len(names), 2.9 * len(checks))
        grid: Any = figure.subplots(
            len(checks), len(names), sharex=True, sharey="col", squeeze=False
        )
        for row, (title, by_width) in zip(grid, checks.items(), strict=True):
            widths = sorted(by_width)
            for axes, name in zip(row, names, strict=True):
                changes_SW = np.stack([by_width[width][name] for width in widths], axis=1)
                for change_W, color in zip(changes_SW, shades(len(changes_SW)), strict=True):
                    axes.plot(widths, change_W, "o-", color=color, markersize=3)
                axes.set_xscale("log", base=2)
                axes.set_yscale("log")
                axes.set_title(f"{name}: width^{growth(by_width, name):.2f}")
            row[0].set_ylabel(f"{title}\nmean change of a coordinate")
        for axes in grid[-1]:
            axes.set_xlabel("width")
        return save(figure, path)
