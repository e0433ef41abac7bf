"""What a finished run shows: sample translations with their attention, curves, scores by length."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flaxformers_edu.metrics.bleu import bleu_by_length
from train.evaluate import Split
from train.prepare import Run
from train.report import AttentionSample, write_report

NUM_SAMPLES = 3


@dataclasses.dataclass(frozen=True)
class Summary:
    """Lines for the terminal, and pictures."""

    samples: list[str]
    paths: list[Path]


def write_summary(
    run: Run,
    params: Any,
    split: Split,
    predictions: Sequence[str],
    learning_rate: Callable[[Any], Any],
) -> Summary:
    """Draws DIR/report from metrics.jsonl and the predictions for a split, if there are any."""
    lines: list[str] = []
    attention: list[AttentionSample] = []
    sources = [split.examples[i]["source"] for i in range(len(predictions))]
    for i in choose_samples(sources) if sources else ():
        example = split.examples[i]
        lines += [
            f"  source      {example['source']}",
            f"  prediction  {predictions[i]}",
            f"  reference   {example['target']}",
            "",
        ]
        attention.append(attention_sample(run, params, example["source"], predictions[i]))
    paths = write_report(
        run.workdir,
        schedule=learning_rate,
        total_steps=run.experiment.steps,
        attention=attention,
        bleu_buckets=bleu_by_length(predictions, split.references) if predictions else (),
    )
    return Summary(lines[:-1], paths)


def choose_samples(sources: Sequence[str]) -> list[int]:
    """A short, a middling and a long example: the first ones of those lengths."""
    lengths = np.array([len(source.split()) for source in sources])
    wanted = np.quantile(lengths, [0.25, 0.5, 0.9], method="nearest")
    chosen: list[int] = []
    for length in wanted[:NUM_SAMPLES]:
        fitting = [int(i) for i in np.flatnonzero(lengths == length) if i not in chosen]
        chosen += fitting[:1]
    return chosen


def attention_sample(run: Run, params: Any, source: str, target: str) -> AttentionSample:
    """The cross-attention with which `target` is predicted from `source`."""
    tokenizer = run.tokenizer
    source_ids, target_ids = tokenizer.encode(source), tokenizer.encode(target)
    weights = run.experiment.objective.alignment(run.model, params, source_ids, target_ids)
    return AttentionSample(
        np.asarray(weights), tokenizer.tokens(target_ids), tokenizer.tokens(source_ids)
    )
