"""ALBERT-base (Lan et al. 2019): runs of words hidden together, and the order of segments.

    python -m train run configs/albert_base.py --workdir runs/albert_base --source.download

4,096 rows of 512 tokens for 125,000 steps by LAMB at a rate of 0.00176 (section 4.1). Made for a
pod of TPUs; it has not been trained here. Without BooksCorpus, which TFDS does not have.
"""

import dataclasses

from configs.bert_base import pretraining
from flaxformers_edu.models import presets
from flaxformers_edu.objectives import BertPretraining, Masking
from flaxformers_edu.optim.recipes import lamb
from flaxformers_edu.optim.schedules import Schedule
from train.experiment import Experiment, TokenizerSpec


def config() -> Experiment:
    """The experiment."""
    model = dataclasses.replace(presets()["albert-base"], dtype="bfloat16")
    masking = Masking(whole_words=True, max_ngram=3)
    return pretraining(
        "albert_base",
        model,
        BertPretraining(pairs="sop", masking=masking),
        TokenizerSpec(kind="albert", lower_case=True, strip_accents=True),
        rows=4096,
        length=512,
        steps=125_000,
        optimizer=lamb(),
        schedule=Schedule(name="linear", peak=1.76e-3, warmup_steps=3_125),
        accumulation=4,
    )
