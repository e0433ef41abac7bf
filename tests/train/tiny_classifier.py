"""The smallest encoder: learns sentiment, or to fill in masks. For the tests here.

Its data lie where the environment variable TINY_EXAMPLES says.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

from flaxformers_edu.models import BertConfig
from flaxformers_edu.objectives import Classification, MaskedLM
from flaxformers_edu.optim.optimizers import Optimizer
from flaxformers_edu.optim.schedules import Schedule
from train.experiment import Experiment, TokenizerSpec
from train.pipeline import Batching
from train.sources import Jsonl

CONFIG = str(Path(__file__))
MASKED_CONFIG = str(Path(__file__).with_name("tiny_masked.py"))
DATA = "TINY_EXAMPLES"

SUBJECTS = ("the film", "this book", "his play", "her song", "our game", "that meal")
WORDS = {"positive": ("great", "lovely", "fine"), "negative": ("awful", "dull", "poor")}


def write_examples(folder: Path) -> None:
    """Splits of sentences whose last word tells the label."""
    found = [
        {"text": f"{subject} was {word}", "label": label}
        for subject in SUBJECTS
        for label, words in WORDS.items()
        for word in words
    ]
    splits = {"train": found, "validation": found[::3], "test": found[1::3]}
    for name, examples in splits.items():
        lines = [json.dumps(example) + "\n" for example in examples]
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")


def config(**changes: Any) -> Experiment:
    """Six steps: a checkpoint every two, an evaluation every three."""
    files = {split: f"${DATA}/{split}.jsonl" for split in ("train", "validation", "test")}
    experiment = Experiment(
        name="tiny-classifier",
        model=BertConfig(
            vocab_size=100,
            hidden_size=16,
            num_layers=2,
            num_heads=2,
            intermediate_size=32,
            max_length=16,
            eos_token_id=3,
            mask_token_id=4,
        ),
        objective=Classification(),
        source=Jsonl(**files, columns=("text=text", "label=label")),
        tokenizer=TokenizerSpec(kind="wordpiece"),
        batching=Batching(tokens_per_batch=128, max_source_length=16, buckets=(16,)),
        optimizer=Optimizer(clip_norm=1.0),
        schedule=Schedule(peak=1e-2, warmup_steps=2),
        steps=6,
        log_every=1,
        eval_every=3,
        checkpoint_every=2,
    )
    return dataclasses.replace(experiment, **changes)


def masked_config() -> Experiment:
    """The same encoder, taught to fill in masks, with sizes of its own."""
    model = dataclasses.replace(config().model, hidden_size=24, layout="unrolled")
    return config(name="tiny-masked", model=model, objective=MaskedLM(), ema_decay=0.5)
