r"""TinyBERT on SST-2, the second half: the student learns its teacher's predictions.

    python -m train run configs/finetune/tinybert_sst2.py --workdir runs/tinybert_sst2 \
        --teacher runs/sst2 --init runs/sst2_hidden

Before it, in runs/sst2 and runs/sst2_hidden, come the commands in tinybert_sst2_hidden.py. Accuracy
on the published dev set is the student's.
"""

from configs.finetune.sst2 import config as of_teacher
from configs.finetune.tinybert_sst2_hidden import distilled
from flaxformers_edu.objectives import PredictionDistillation
from train.experiment import Experiment


def config() -> Experiment:
    """The experiment."""
    return distilled("tinybert_sst2", PredictionDistillation(of_teacher().objective))
