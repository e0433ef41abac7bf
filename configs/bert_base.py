"""BERT-base, uncased (Devlin et al. 2019): hidden tokens and next sentences, on English Wikipedia.

    python -m train run configs/bert_base.py --workdir runs/bert_base --source.download

The 900,000 steps of 256 rows of 128 tokens that the paper begins with (A.2). Its last 100,000 have
rows of 512: --init runs/bert_base --batching.max-source-length 512 --batching.buckets 512
--batching.tokens-per-batch 131072 --steps 100000 in another folder. Made for a pod slice; it has
not been trained here. Other than there: no BooksCorpus, which TFDS does not have; masks are drawn
anew at each step; Adam corrects its moments' bias. The encoded corpus is kept in memory.
"""

import dataclasses
from typing import Any

from flaxformers_edu.models import presets
from flaxformers_edu.objectives import BertPretraining
from flaxformers_edu.optim.optimizers import Optimizer
from flaxformers_edu.optim.schedules import Schedule
from train.experiment import Experiment, TokenizerSpec
from train.pipeline import Batching
from train.sources import Tfds

WIKIPEDIA = Tfds(
    name="wikipedia/20230601.en",
    source="text",
    target="",
    train="train[:99%]",
    validation="train[99%:]",
    test="",
)
UNCASED = TokenizerSpec(
    kind="wordpiece", lower_case=True, strip_accents=True, max_examples=1_000_000
)
SPECIAL_IDS: dict[str, Any] = {"pad_token_id": 0, "eos_token_id": 3, "mask_token_id": 4}
"""Of a vocabulary trained here; that of the released models has others."""


def config() -> Experiment:
    """The experiment."""
    model = dataclasses.replace(presets()["bert-base"], **SPECIAL_IDS, dtype="bfloat16")
    return pretraining(
        "bert_base",
        model,
        BertPretraining(pairs="nsp"),
        UNCASED,
        rows=256,
        length=128,
        steps=900_000,
        optimizer=Optimizer(name="adamw", eps=1e-6, weight_decay=0.01, clip_norm=1.0),
        schedule=Schedule(name="linear", peak=1e-4, warmup_steps=10_000, total_steps=1_000_000),
    )


def pretraining(
    name: str,
    model: Any,
    objective: Any,
    tokenizer: TokenizerSpec,
    *,
    rows: int,
    length: int,
    steps: int,
    optimizer: Optimizer,
    schedule: Schedule,
    accumulation: int = 1,
) -> Experiment:
    """A published recipe on Wikipedia: so many rows of a length at each step."""
    return Experiment(
        name=name,
        model=model,
        objective=objective,
        source=WIKIPEDIA,
        tokenizer=tokenizer,
        batching=Batching(
            tokens_per_batch=rows * length, max_source_length=length, buckets=(length,)
        ),
        optimizer=optimizer,
        schedule=schedule,
        steps=steps,
        accumulation=accumulation,
        log_every=100,
        eval_every=10_000,
        eval_examples=0,
        checkpoint_every=1_000,
    )
