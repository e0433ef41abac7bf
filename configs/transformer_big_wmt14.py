"""The paper's big model on WMT 2014 English-German (Vaswani et al. 2017, table 3): 28.4 BLEU there.

    python -m train run configs/transformer_big_wmt14.py --workdir runs/big --source.download

300,000 steps (section 5.2) with dropout 0.3, otherwise as the base model; made for a pod slice; it
has not been trained here. `--model.remat dots_no_batch` trades recomputation for memory.
"""

import dataclasses

from configs.transformer_base_wmt14 import config as base
from flaxformers_edu.models import presets
from train.experiment import Experiment


def config() -> Experiment:
    """The experiment."""
    experiment = base()
    model = dataclasses.replace(presets()["transformer-big"], dtype="bfloat16")
    return dataclasses.replace(
        experiment,
        name="transformer_big_wmt14",
        model=model,
        schedule=dataclasses.replace(experiment.schedule, model_dim=model.hidden_size),
        steps=300_000,
    )
