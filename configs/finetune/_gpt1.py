"""What the configs of GPT-1's fine-tuning have in common: the recipe of its paper, section 4.1."""

from typing import Any

from flaxformers_edu.models.gpt1 import GPT1Config
from flaxformers_edu.optim.optimizers import Optimizer
from flaxformers_edu.optim.schedules import Schedule
from train.experiment import Experiment, TokenizerSpec
from train.pipeline import Batching


def as_gpt1(
    name: str, objective: Any, source: Any, *, steps: int, max_length: int, tokens_per_batch: int
) -> Experiment:
    """AdamW with 0.01 of decay on matrices, warm-up over 0.2% of the steps, then linear decay.

    The rate is that of a model of some ten million parameters; the published one of 117 million
    takes --schedule.peak 6.25e-5. Without --init FOLDER it is a small model from scratch, with a
    tokeniser trained on the task.
    """
    return Experiment(
        name=name,
        model=GPT1Config(
            vocab_size=8192,
            hidden_size=256,
            num_layers=6,
            num_heads=4,
            intermediate_size=1024,
            max_length=256,
            pad_token_id=0,
            eos_token_id=1,
            num_labels=getattr(objective, "num_labels", 2),
            layout="unrolled",
        ),
        objective=objective,
        source=source,
        tokenizer=TokenizerSpec(kind="bpe", task_tokens=True),
        batching=Batching(
            tokens_per_batch=tokens_per_batch, max_source_length=max_length, bucket_multiple=16
        ),
        optimizer=Optimizer(name="adamw", weight_decay=0.01, clip_norm=1.0),
        schedule=Schedule(name="linear", peak=5e-4, warmup_steps=max(round(0.002 * steps), 1)),
        steps=steps,
        eval_every=max(steps // 3, 1),
        checkpoint_every=max(steps // 3, 1),
        keep_last=1,
    )
