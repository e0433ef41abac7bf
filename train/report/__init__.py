"""The pictures of a run: learning curves, schedule, attention, BLEU by length; into DIR/report/."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from flaxformers_edu.metrics.bleu import LengthBucket
from train.report.attention import (
    AttentionSample,
    attention_figure,
    attention_grid,
    attention_heatmap,
)
from train.report.curves import learning_curves, read_metrics, schedule_curve, series
from train.report.scores import bleu_bars
from train.report.style import hangul_font

__all__ = [
    "AttentionSample",
    "attention_figure",
    "attention_grid",
    "attention_heatmap",
    "bleu_bars",
    "hangul_font",
    "learning_curves",
    "read_metrics",
    "schedule_curve",
    "series",
    "write_report",
]


def write_report(
    run_folder: Path,
    *,
    schedule: Callable[[Any], Any] | None = None,
    total_steps: int = 0,
    attention: Sequence[AttentionSample] = (),
    bleu_buckets: Sequence[LengthBucket] = (),
) -> list[Path]:
    """Draws all that there is to draw into run_folder/report; returns the files.

    Args:
        run_folder: a run's folder; its metrics.jsonl is read if there is one.
        schedule: the learning rate by step; taken with total_steps.
        total_steps: of the run.
        attention: sample translations: two pictures each, the last layer's mean and all heads;
            one picture, where a model has one head in one layer.
        bleu_buckets: what `flaxformers_edu.metrics.bleu_by_length` returns.
    """
    folder = run_folder / "report"
    files: list[Path | None] = []
    metrics = run_folder / "metrics.jsonl"
    if metrics.is_file():
        files.append(learning_curves(folder / "learning_curves.png", read_metrics(metrics)))
    if schedule is not None and total_steps > 0:
        files.append(schedule_curve(folder / "schedule.png", schedule, total_steps))
    for number, sample in enumerate(attention, start=1):
        layers, heads = sample.weights_LHTS.shape[:2]
        files.append(
            attention_heatmap(
                folder / f"attention_{number}.png",
                sample.weights_LHTS[-1],
                sample.target_tokens,
                sample.source_tokens,
                f"Cross-attention, layer {layers} of {layers}" if layers > 1 else "Cross-attention",
            )
        )
        if layers * heads > 1:
            files.append(attention_grid(folder / f"attention_{number}_heads.png", sample))
    if bleu_buckets:
        files.append(bleu_bars(folder / "bleu_by_length.png", bleu_buckets))
    return [file for file in files if file is not None]
