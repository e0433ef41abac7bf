r"""The student of distil_mini, who has no teacher: hidden tokens alone, from chance.

export FLAXFORMERS_DATA=...   # a folder that holds wikitext-2/wiki.{train,valid}.tokens
python -m train run configs/wikitext/student_mini.py --workdir runs/wikitext_student
"""

import dataclasses

from configs.wikitext import distil_mini
from train.experiment import Experiment


def config() -> Experiment:
    """The experiment: the same steps over the same rows."""
    experiment = distil_mini.config()
    return dataclasses.replace(
        experiment,
        name="student_mini_wikitext",
        model=experiment.model.student,
        objective=experiment.objective.of,
        optimizer=dataclasses.replace(experiment.optimizer, frozen=()),
    )
