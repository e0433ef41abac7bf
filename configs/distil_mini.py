"""DistilBERT in small: half the layers of configs/bert_mini_stdlib.py, and the same text.

    python -m train run configs/bert_mini_stdlib.py --workdir runs/bert_mini
    python -m train run configs/distil_mini.py --workdir runs/distil_mini --teacher runs/bert_mini

Beside it the same student without a teacher: --objective.soft-weight 0 --objective.cosine-weight 0
--objective.mlm-weight 1 --model.layers (nothing: begin from chance).
"""

import dataclasses

from configs.bert_mini_stdlib import config as of_teacher
from configs.bert_mini_stdlib import mini
from flaxformers_edu.models import DistilBertConfig, DistillationConfig
from flaxformers_edu.models.student_layers import spread_layers
from flaxformers_edu.objectives import DistilMLM, MaskedLM
from flaxformers_edu.optim.optimizers import Optimizer
from train.experiment import Experiment

SHARED = (
    *("vocab_size", "pad_token_id", "eos_token_id", "mask_token_id", "max_length"),
    *("hidden_size", "num_heads", "intermediate_size", "layout"),
)
"""What the student has in common with its teacher."""


def config() -> Experiment:
    """The experiment."""
    teacher = of_teacher().model
    student = DistilBertConfig(
        **{name: getattr(teacher, name) for name in SHARED}, num_layers=teacher.num_layers // 2
    )
    layers = spread_layers(student.num_layers, teacher.num_layers)
    experiment = mini(
        "distil_mini", DistillationConfig(student, teacher, layers), DistilMLM(MaskedLM())
    )
    optimizer: Optimizer = dataclasses.replace(experiment.optimizer, frozen=(r"^teacher/",))
    return dataclasses.replace(experiment, optimizer=optimizer)
