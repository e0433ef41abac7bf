"""Attention with its tokens on the axes.

L layers, H heads, T target length, S source length.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from train.report.style import new_figure, save, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class AttentionSample:
    """Cross-attention of one translation."""

    weights_LHTS: np.ndarray
    target_tokens: Sequence[str]
    source_tokens: Sequence[str]


def visible(token: str) -> str:
    """A token as an axis shows it: sentencepiece's word mark as "_", "$" without its meaning."""
    return token.replace("\u2581", "_").replace("\n", "\\n").replace("$", r"\$") or "∅"


def _check_tokens(weights_TS: np.ndarray, target: Sequence[str], source: Sequence[str]) -> None:
    if weights_TS.shape[-2:] != (len(target), len(source)):
        raise ValueError(
            f"attention of shape {weights_TS.shape} does not fit {len(target)} target and"
            f" {len(source)} source tokens"
        )


def _label_tokens(axes: "Axes", target: Sequence[str], source: Sequence[str], size: float) -> None:
    turned = len(source) > 1 and max(map(len, source)) > 2
    axes.set_xticks(range(len(source)), [visible(t) for t in source], fontsize=size)
    axes.set_yticks(range(len(target)), [visible(t) for t in target], fontsize=size)
    axes.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, length=0)
    if turned:
        for label in axes.get_xticklabels():
            label.set(rotation=55, ha="left", rotation_mode="anchor")


def _top(weights: np.ndarray) -> float:
    """The end of the colour scale: on 0 to 1, attention that is spread thin would be all white."""
    return math.ceil(10 * max(float(weights.max()), 0.1) - 1e-6) / 10


def _colour_bar(figure: "Figure", image: Any, axes: Any, top: float) -> None:
    shrink = 0.6
    bar = figure.colorbar(
        image,
        ax=axes,
        shrink=shrink,
        aspect=shrink * figure.get_figheight() / 0.16,  # the same width in inches everywhere
        ticks=[0, top / 2, top],
        format="%.2g",
        pad=0.02,
    )
    bar.set_label("attention", fontsize=9)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0)


def attention_figure(
    weights_TS: np.ndarray, target_tokens: Sequence[str], source_tokens: Sequence[str], title: str
) -> "Figure":
    """Target tokens downwards, source tokens to the right; several heads ([H, T, S]) are averaged.

    Raises:
        ValueError: the weights' shape is not that of the tokens.
    """
    weights_TS = np.asarray(weights_TS, np.float32)
    _check_tokens(weights_TS, target_tokens, source_tokens)
    if weights_TS.ndim == 3:
        if len(weights_TS) > 1:
            title = f"{title} (mean of heads)"
        weights_TS = weights_TS.mean(axis=0)
    size = 10 if max(weights_TS.shape) <= 30 else 7
    cell = 0.36 if size == 10 else 0.22
    with style():
        figure = new_figure(
            max(4.5, 2.4 + cell * weights_TS.shape[1]), max(3.2, 1.7 + cell * weights_TS.shape[0])
        )
        axes: Any = figure.subplots()
        top = _top(weights_TS)
        image = axes.imshow(weights_TS, cmap="Blues", vmin=0, vmax=top, aspect="equal")
        axes.grid(False)
        axes.spines[:].set_visible(False)
        axes.set_xticks(np.arange(1, weights_TS.shape[1]) - 0.5, minor=True)
        axes.set_yticks(np.arange(1, weights_TS.shape[0]) - 0.5, minor=True)
        axes.grid(True, which="minor", axis="both", color="#f0f0f0", linewidth=0.6)
        axes.tick_params(which="minor", length=0)
        _label_tokens(axes, target_tokens, source_tokens, size)
        axes.set_xlabel("source")
        axes.set_ylabel("target")
        figure.suptitle(title, fontsize=11, x=0.02, ha="left")
        _colour_bar(figure, image, axes, top)
    return figure


def attention_heatmap(
    path: Path,
    weights_TS: np.ndarray,
    target_tokens: Sequence[str],
    source_tokens: Sequence[str],
    title: str = "Cross-attention",
) -> Path:
    """`attention_figure`, drawn into a file."""
    figure = attention_figure(weights_TS, target_tokens, source_tokens, title)
    with style():
        return save(figure, path)


def attention_grid(path: Path, sample: AttentionSample, title: str = "Cross-attention") -> Path:
    """Every head of every layer: layers downwards, heads to the right, tokens at the outer edges.

    Where tokens would be too small to read, they are left out.

    Raises:
        ValueError: the weights' shape is not that of the tokens.
    """
    weights_LHTS = np.asarray(sample.weights_LHTS, np.float32)
    _check_tokens(weights_LHTS, sample.target_tokens, sample.source_tokens)
    layers, heads, length, source_length = weights_LHTS.shape
    cell = min(0.17, 20 / (heads * source_length))  # inches; the whole is no wider than a wall
    readable = cell > 0.12
    top = _top(weights_LHTS)
    width, height = max(1.5, cell * source_length), max(1.2, cell * length)
    with style():
        figure = new_figure(1.8 + heads * (width + 0.25), 1.9 + layers * (height + 0.3))
        grid: Any = figure.subplots(layers, heads, squeeze=False)
        for layer in range(layers):
            for head in range(heads):
                axes = grid[layer, head]
                image = axes.imshow(weights_LHTS[layer, head], cmap="Blues", vmin=0, vmax=top)
                axes.grid(False)
                axes.spines[:].set(visible=True, color="#cccccc")
                if readable:
                    _label_tokens(axes, sample.target_tokens, sample.source_tokens, 7)
                else:
                    axes.set(xticks=[], yticks=[])
                if layer > 0:
                    axes.tick_params(labeltop=False)
                if head > 0:
                    axes.tick_params(labelleft=False)
                if layer == layers - 1:
                    axes.set_xlabel(f"head {head + 1}")
            grid[layer, 0].set_ylabel(f"layer {layer + 1}")
        figure.suptitle(title, fontsize=11, x=0.02, ha="left")
        _colour_bar(figure, image, grid, top)
        return save(figure, path)
