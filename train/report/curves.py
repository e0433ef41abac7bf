"""What was measured over a run, and the schedule of its learning rate."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from train.report.style import (
    BLUE,
    VERMILLION,
    count_axis,
    new_figure,
    save,
    scientific_axis,
    style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The records of a metrics.jsonl; what is no JSON object, such as a torn line, is left out."""
    records = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(record, dict):
            records.append(record)
    return records


def series(records: Sequence[Mapping[str, Any]]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Steps and values by name, such as "train/loss"; of a step that was done twice, the last.

    A key without "/" belongs to the record's "kind" ("train" if it has none). Only finite numbers
    of records that have a "step" count.
    """
    found: dict[str, dict[int, float]] = {}
    for record in records:
        step = record.get("step")
        if isinstance(step, bool) or not isinstance(step, int | float):
            continue
        for key, value in record.items():
            if key == "step" or isinstance(value, bool) or not isinstance(value, int | float):
                continue
            if math.isfinite(value):
                name = key if "/" in key else f"{record.get('kind', 'train')}/{key}"
                found.setdefault(name, {})[int(step)] = float(value)
    return {
        name: (np.array(sorted(points)), np.array([points[step] for step in sorted(points)]))
        for name, points in found.items()
    }


PANELS = {
    "train/learning_rate": "Learning rate",
    "train/tokens_per_second": "Tokens per second",
    "train/grad_norm": "Norm of the gradient",
    "train/noise_scale": "Critical batch size, tokens",
}
"""What is drawn of training beside the loss; of evaluations everything is."""

LOSS_TITLES = {"loss": "Loss per token", "nll": "Negative log-likelihood per token"}

WORDS = {"bleu": "BLEU", "accuracy": "Accuracy by token", "perplexity": "Perplexity"}


def _title(name: str) -> str:
    last = name.split("/", 1)[1]
    words = last.replace("/", " ").replace("_", " ")
    return WORDS.get(last, words[:1].upper() + words[1:])


def _smooth(values: np.ndarray, width: int) -> np.ndarray:
    """Mean of a window, which is shorter at both ends."""
    kernel = np.ones(width)
    return np.convolve(values, kernel, "same") / np.convolve(np.ones(len(values)), kernel, "same")


def _draw_noisy(
    axes: "Axes", steps: np.ndarray, values: np.ndarray, color: str, label: str | None = None
) -> None:
    """The values; of many, a running mean in front of them."""
    if len(values) < 60:
        axes.plot(steps, values, color=color, label=label)
        return
    axes.plot(steps, values, color=color, alpha=0.25, linewidth=0.8)
    width = max(3, len(values) // 50)
    axes.plot(
        steps,
        _smooth(values, width),
        color=color,
        label=label and f"{label}, mean of {width} points",
    )


def _number(value: float) -> str:
    return f"{value:.1f}" if 10 <= abs(value) < 1000 else f"{value:.3g}"


def _draw_evaluations(
    axes: "Axes", steps: np.ndarray, values: np.ndarray, label: str | None, smallest_is_best: bool
) -> None:
    axes.plot(steps, values, color=VERMILLION, marker="o", markersize=3.5, label=label)
    best = int(values.argmin() if smallest_is_best else values.argmax())
    value = float(values[best])
    axes.annotate(
        f"best {_number(value)}",
        (steps[best], value),
        xytext=(0, 9 if smallest_is_best else -15),
        textcoords="offset points",
        ha="right" if steps[best] > steps.mean() else "left",
        fontsize=9,
        color=VERMILLION,
    )


def learning_curves(path: Path, records: Sequence[Mapping[str, Any]]) -> Path | None:
    """One panel for the losses, one for every other measure; None where nothing was measured."""
    curves = series(records)
    # Without label smoothing training and validation can be compared: where there is such a part.
    kind = "nll" if "train/nll" in curves else "loss"
    losses: list[str] = [name for name in (f"train/{kind}", f"eval/{kind}") if name in curves]
    taken = ("eval/loss", "eval/nll")
    scores = sorted(name for name in curves if name.startswith("eval/") and name not in taken)
    panels: list[list[str]] = [losses] if losses else []
    panels += [[name] for name in (*scores, *(name for name in PANELS if name in curves))]
    if not panels:
        return None
    columns = 1 if len(panels) == 1 else 2
    rows = math.ceil(len(panels) / columns)
    with style():
        figure = new_figure(5.2 * columns, 3.1 * rows)
        grid: Any = np.atleast_1d(np.asarray(figure.subplots(rows, columns))).ravel()
        for unused in grid[len(panels) :]:
            unused.remove()
        for axes, names in zip(grid, panels, strict=False):
            name = names[0]
            if names is losses:
                axes.set_title(LOSS_TITLES[kind])
                if f"train/{kind}" in curves:
                    _draw_noisy(axes, *curves[f"train/{kind}"], BLUE, "training")
                if f"eval/{kind}" in curves:
                    _draw_evaluations(axes, *curves[f"eval/{kind}"], "validation", True)
                axes.legend()
            elif name.startswith("eval/"):
                axes.set_title(f"{_title(name)}, validation")
                down = any(word in name for word in ("loss", "perplexity", "error"))
                _draw_evaluations(axes, *curves[name], None, down)
            else:
                axes.set_title(PANELS[name])
                if name == "train/learning_rate":
                    axes.plot(*curves[name], color=BLUE)
                    scientific_axis(axes)
                else:
                    _draw_noisy(axes, *curves[name], BLUE)
                if name == "train/tokens_per_second":
                    axes.set_ylim(bottom=0)
                    count_axis(axes.yaxis)
            axes.set_xlim(left=0)
            axes.margins(y=0.12)
            count_axis(axes.xaxis)
            axes.set_xlabel("step")
        return save(figure, path)


def schedule_curve(path: Path, schedule: Callable[[Any], Any], total_steps: int) -> Path:
    """The learning rate over the whole run, its peak marked. `schedule` takes arrays of steps."""
    steps = np.unique(np.linspace(0, max(total_steps - 1, 0), 2000).astype(np.int32))
    rates = np.broadcast_to(np.asarray(schedule(steps), np.float64), steps.shape)
    peak = int(rates.argmax())
    with style():
        figure = new_figure(6.4, 3.4)
        axes: Any = figure.subplots()
        axes.plot(steps, rates, color=BLUE)
        axes.plot(steps[peak], rates[peak], "o", color=VERMILLION, markersize=5)
        axes.annotate(
            f"{rates[peak]:.3g} at step {steps[peak]:,}",
            (steps[peak], rates[peak]),
            xytext=(8, 4) if peak < len(steps) / 2 else (-8, 4),
            textcoords="offset points",
            ha="left" if peak < len(steps) / 2 else "right",
            fontsize=9,
            color=VERMILLION,
        )
        axes.set_title("Learning rate schedule")
        axes.set_xlabel("step")
        axes.set_ylabel("learning rate")
        axes.margins(x=0.01, y=0.12)
        scientific_axis(axes)
        count_axis(axes.xaxis)
        return save(figure, path)
