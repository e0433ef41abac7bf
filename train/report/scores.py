"""BLEU by sentence length."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flaxformers_edu.metrics.bleu import LengthBucket
from train.report.style import BLUE, new_figure, save, style


def bleu_bars(path: Path, buckets: Sequence[LengthBucket]) -> Path:
    """BLEU of sentences by their length, with the number of sentences under each bar."""
    with style():
        figure = new_figure(max(4.5, 1.6 + 0.85 * len(buckets)), 3.4)
        axes: Any = figure.subplots()
        bars = axes.bar(range(len(buckets)), [b.score for b in buckets], color=BLUE, width=0.7)
        axes.bar_label(bars, fmt="%.1f", padding=2, fontsize=9)
        axes.set_xticks(
            range(len(buckets)),
            [f"{max(b.shortest, 1)}–{b.longest}\nn={b.num_segments:,}" for b in buckets],
        )
        axes.tick_params(axis="x", length=0)
        top = max((b.score for b in buckets), default=0.0)
        axes.set_ylim(0, 109 if top > 60 else max(top * 1.2, 1.0))
        if top > 60:
            axes.set_yticks(range(0, 101, 20))
        axes.set_title("BLEU by sentence length")
        axes.set_xlabel("length of the reference in words; n sentences")
        axes.set_ylabel("BLEU")
        return save(figure, path)
