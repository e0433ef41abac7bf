"""RoBERTa-base (Liu et al. 2019): hidden tokens alone, on rows full of sentences.

    python -m train run configs/roberta_base.py --workdir runs/roberta_base --source.download

8,192 rows of 512 tokens, 500,000 steps, with table 9's settings. The paper has 160 GB of text, and
this only Wikipedia. Made for a pod of TPUs; it has not been trained here.
"""

import dataclasses

from configs.bert_base import pretraining
from flaxformers_edu.models import presets
from flaxformers_edu.objectives import MaskedLM
from flaxformers_edu.optim.optimizers import Optimizer
from flaxformers_edu.optim.schedules import Schedule
from train.experiment import Experiment, TokenizerSpec


def config() -> Experiment:
    """The experiment."""
    # <mask> is the fifth token of a vocabulary trained here, and the last of the released one.
    model = dataclasses.replace(presets()["roberta-base"], mask_token_id=4, dtype="bfloat16")
    return pretraining(
        "roberta_base",
        model,
        MaskedLM(),
        TokenizerSpec(kind="byte_bpe"),
        rows=8192,
        length=512,
        steps=500_000,
        optimizer=Optimizer(name="adamw", b2=0.98, eps=1e-6, weight_decay=0.01),
        schedule=Schedule(name="linear", peak=6e-4, warmup_steps=24_000),
        accumulation=8,
    )
