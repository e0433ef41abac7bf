"""TinyBERT's general distillation (Jiao et al. 2020): four thin layers of BERT-base, on Wikipedia.

    python -m train run configs/tinybert_general.py --workdir runs/tinybert --teacher FOLDER

FOLDER holds the teacher as Hugging Face keeps it: bert-base-uncased, with its vocab.txt. Rows of
128 tokens, 256 a step, at a rate of 1e-4, over the text three times (section 4.2). What follows is
task distillation: configs/finetune/tinybert_sst2_hidden.py, then tinybert_sst2.py.
Made for accelerators; it has not been trained here.
"""

import dataclasses

from configs.distilbert import WIKIPEDIA
from flaxformers_edu.models import DistillationConfig, presets
from flaxformers_edu.objectives import HiddenDistillation, MaskedLM
from flaxformers_edu.optim.optimizers import Optimizer
from flaxformers_edu.optim.schedules import Schedule
from train.experiment import Experiment
from train.pipeline import Batching


def config() -> Experiment:
    """The experiment: three times the 26 million rows of 2,500 million words."""
    teacher = dataclasses.replace(presets()["bert-base"], dtype="bfloat16")
    student = dataclasses.replace(presets()["tinybert-4"], dtype="bfloat16")
    steps = 300_000
    return Experiment(
        name="tinybert_general",
        model=DistillationConfig(student, teacher),
        objective=HiddenDistillation(MaskedLM()),
        source=WIKIPEDIA,
        batching=Batching(tokens_per_batch=256 * 128, max_source_length=128, buckets=(128,)),
        optimizer=Optimizer(
            name="adamw", eps=1e-6, weight_decay=0.01, clip_norm=1.0, frozen=(r"^teacher/",)
        ),
        schedule=Schedule(name="linear", peak=1e-4, warmup_steps=steps // 10),
        steps=steps,
        eval_every=10_000,
        checkpoint_every=5_000,
    )
