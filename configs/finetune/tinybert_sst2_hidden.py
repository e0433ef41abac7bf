r"""TinyBERT on SST-2, the first half: a student of two layers gets its teacher's states and scores.

    python -m train run configs/finetune/sst2.py --workdir runs/sst2 --init FOLDER
    python -m train run configs/finetune/tinybert_sst2_hidden.py --workdir runs/sst2_hidden \
        --teacher runs/sst2

The teacher is fine-tuned first. The student is half as wide and half as deep; --init FOLDER begins
from one that has been through general distillation. The second half is tinybert_sst2.py.
"""

import dataclasses
from typing import Any

from configs.finetune.sst2 import config as of_teacher
from flaxformers_edu.models import DistillationConfig
from flaxformers_edu.objectives import HiddenDistillation
from train.experiment import Experiment


def config() -> Experiment:
    """The experiment."""
    return distilled("tinybert_sst2_hidden", HiddenDistillation(of_teacher().objective))


def distilled(name: str, objective: Any) -> Experiment:
    """The teacher's experiment, with a student in its place and another loss."""
    experiment = of_teacher()
    teacher = experiment.model
    student = dataclasses.replace(
        teacher,
        hidden_size=teacher.hidden_size // 2,
        num_layers=teacher.num_layers // 2,
        intermediate_size=teacher.intermediate_size // 2,
    )
    return dataclasses.replace(
        experiment,
        name=name,
        model=DistillationConfig(student, teacher),
        objective=objective,
        optimizer=dataclasses.replace(experiment.optimizer, frozen=(r"^teacher/",)),
    )
