"""What the configs of fine-tuning have in common: the recipe of BERT's paper, appendix A.3."""

import dataclasses
from typing import Any

from flaxformers_edu.models import BertConfig
from flaxformers_edu.optim.optimizers import Optimizer
from flaxformers_edu.optim.schedules import Schedule
from train.experiment import Experiment, TokenizerSpec
from train.pipeline import Batching
from train.sources import FewExamples


def fine_tuning(
    name: str,
    objective: Any,
    source: Any,
    *,
    steps: int,
    max_length: int,
    tokens_per_batch: int,
    lower_case: bool = True,
) -> Experiment:
    """An experiment with AdamW at 1e-4, warm-up over a tenth of the steps, then linear decay.

    The model has the size of BERT-mini, and a tokeniser of its own, trained on the task: from
    scratch, as a baseline. --init FOLDER takes body, sizes and tokeniser from a pre-trained one.
    """
    return Experiment(
        name=name,
        model=BertConfig(
            vocab_size=8192,
            hidden_size=256,
            num_layers=4,
            num_heads=4,
            intermediate_size=1024,
            max_length=512,
            pad_token_id=0,
            eos_token_id=3,
            mask_token_id=4,
            num_labels=getattr(objective, "num_labels", 2),
            layout="unrolled",
        ),
        objective=objective,
        source=source,
        tokenizer=TokenizerSpec(kind="wordpiece", lower_case=lower_case),
        batching=Batching(
            tokens_per_batch=tokens_per_batch,
            max_source_length=max_length,
            bucket_multiple=16,
        ),
        optimizer=Optimizer(name="adamw", eps=1e-6, weight_decay=0.01, clip_norm=1.0),
        schedule=Schedule(name="linear", peak=1e-4, warmup_steps=steps // 10),
        steps=steps,
        eval_every=steps // 6,
        checkpoint_every=steps // 6,
        keep_last=1,
    )


def with_few_labels(
    experiment: Experiment, name: str, *, examples: int = 1000, steps: int = 200
) -> Experiment:
    """The same with so many labelled examples, in batches of 1,024 tokens: some ten epochs."""
    return dataclasses.replace(
        experiment,
        name=name,
        source=FewExamples(experiment.source, examples=examples),
        batching=dataclasses.replace(experiment.batching, tokens_per_batch=1024),
        schedule=dataclasses.replace(experiment.schedule, warmup_steps=steps // 10),
        steps=steps,
        eval_every=steps // 2,
        checkpoint_every=steps // 2,
    )
