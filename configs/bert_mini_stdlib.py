"""A small BERT on the docstrings of Python's standard library: hidden tokens and next sentences.

    python -m train run configs/bert_mini_stdlib.py --workdir runs/bert_mini

Rows of 64 tokens, 32 a step. ALBERT and ELECTRA beside it (albert_mini_stdlib, electra_mini_stdlib)
read the same text through the same vocabulary in as many steps.
"""

from typing import Any

from flaxformers_edu.models import BertConfig
from flaxformers_edu.objectives import BertPretraining
from flaxformers_edu.optim.optimizers import Optimizer
from flaxformers_edu.optim.schedules import Schedule
from train.experiment import Experiment, TokenizerSpec
from train.pipeline import Batching
from train.sources import StdlibDocs

VOCABULARY: dict[str, Any] = {
    "vocab_size": 4096,
    "pad_token_id": 0,
    "eos_token_id": 3,
    "mask_token_id": 4,
}
SIZES: dict[str, Any] = {
    "hidden_size": 128,
    "num_layers": 4,
    "num_heads": 4,
    "intermediate_size": 512,
}
LENGTH, ROWS, STEPS = 64, 32, 2000


def config() -> Experiment:
    """The experiment."""
    model = BertConfig(**VOCABULARY, **SIZES, max_length=LENGTH, layout="unrolled")
    return mini("bert_mini_stdlib", model, BertPretraining(pairs="nsp", duplicates=10))


def mini(name: str, model: Any, objective: Any) -> Experiment:
    """A model on this corpus; everything but model and objective is the same for all."""
    return Experiment(
        name=name,
        model=model,
        objective=objective,
        source=StdlibDocs(unit="document"),
        tokenizer=TokenizerSpec(kind="wordpiece"),
        batching=Batching(
            tokens_per_batch=ROWS * LENGTH, max_source_length=LENGTH, buckets=(LENGTH,)
        ),
        optimizer=Optimizer(name="adamw", eps=1e-6, weight_decay=0.01, clip_norm=1.0),
        schedule=Schedule(name="linear", peak=1e-3, warmup_steps=STEPS // 10),
        steps=STEPS,
        eval_every=200,
        eval_examples=0,
        checkpoint_every=400,
    )
