"""BERT-large by LAMB in 76 minutes (You et al. 2020): 65,536 rows of 128 tokens, 7,037 steps.

    python -m train run configs/bert_large_lamb.py --workdir runs/bert_large --source.download

The first of two stages; bert_large_lamb_512 goes on from it. See `mixed_lamb_for_bert` for where
the rates come from. Made for a pod of TPUs; it has not been trained here.
"""

import dataclasses

from configs.bert_base import SPECIAL_IDS, UNCASED, pretraining
from flaxformers_edu.models import presets
from flaxformers_edu.objectives import BertPretraining
from flaxformers_edu.optim.recipes import Stage, mixed_lamb_for_bert
from flaxformers_edu.sharding import MeshShape
from train.experiment import Experiment


def config() -> Experiment:
    """The experiment."""
    return stage("bert_large_lamb", mixed_lamb_for_bert()[0], accumulation=8)


def stage(name: str, recipe: Stage, *, accumulation: int) -> Experiment:
    """One stage of the training."""
    model = dataclasses.replace(
        presets()["bert-large"], **SPECIAL_IDS, dtype="bfloat16", remat="dots_no_batch"
    )
    experiment = pretraining(
        name,
        model,
        BertPretraining(pairs="nsp"),
        UNCASED,
        rows=recipe.batch,
        length=recipe.sequence_length,
        steps=recipe.steps,
        optimizer=recipe.optimizer,
        schedule=recipe.schedule,
        accumulation=accumulation,
    )
    mesh = MeshShape(data=1, fsdp=-1)
    return dataclasses.replace(
        experiment, mesh=mesh, log_every=10, eval_every=500, checkpoint_every=100
    )
