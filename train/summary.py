"""What a finished run shows: sample predictions, attention, curves, scores by length."""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np

from flaxformers_edu.metrics.bleu import LengthBucket, bleu_by_length
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
    outcomes: Sequence[Any],
    learning_rate: Callable[[Any], Any],
) -> Summary:
    """Draws DIR/report from metrics.jsonl and the outcomes for a split, if there are any."""
    lines: list[str] = []
    attention: list[AttentionSample] = []
    buckets: Sequence[LengthBucket] = ()
    if run.experiment.objective.generates:
        examples = [split.examples[i] for i in range(len(outcomes))]
        chosen = choose_samples([example["source"] for example in examples])
        for i in chosen:
            source = examples[i]["source"]
            shown = {
                "source": source,
                "prediction": outcomes[i],
                "reference": examples[i]["target"],
            }
            lines += described(shown)
            sample = attention_sample(run, params, source, outcomes[i])
            attention += [sample] if len(sample.weights_LHTS) else []
        buckets = bleu_by_length(outcomes, [example["target"] for example in examples])
    else:
        for example, outcome in zip(split.examples, outcomes[:NUM_SAMPLES], strict=False):
            lines += described({**example, "prediction": outcome})
    paths = write_report(
        run.workdir,
        schedule=learning_rate,
        total_steps=run.experiment.steps,
        attention=attention,
        bleu_buckets=buckets,
    )
    return Summary(lines[:-1], paths)


def described(example: Mapping[str, Any]) -> list[str]:
    """A line for each field, and an empty one."""
    texts = {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in example.items()
    }
    width = max(map(len, texts))
    lines = [f"  {name:<{width}}  {shorten(text, 300)}" for name, text in texts.items()]
    return [*lines, ""]


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
    """The cross-attention with which `target` is predicted from `source`; no layers for none."""
    tokenizer = run.tokenizer
    source_ids, target_ids = tokenizer.encode(source), tokenizer.encode(target)
    weights = run.experiment.objective.alignment(run.model, params, source_ids, target_ids)
    return AttentionSample(
        np.asarray(weights), tokenizer.tokens(target_ids), tokenizer.tokens(source_ids)
    )
