"""A student of one layer for the teacher that `tiny_masked` trains. For the tests here."""

import dataclasses
from pathlib import Path

from flaxformers_edu.models import DistilBertConfig, DistillationConfig
from flaxformers_edu.objectives import DistilMLM, MaskedLM
from tests.train import tiny_classifier
from train.experiment import Experiment

CONFIG = str(Path(__file__))


def config() -> Experiment:
    """The experiment; the student begins from its teacher's second layer."""
    teacher = tiny_classifier.masked_config().model
    student = DistilBertConfig(
        vocab_size=teacher.vocab_size,
        hidden_size=teacher.hidden_size,
        num_layers=1,
        num_heads=2,
        intermediate_size=teacher.intermediate_size,
        max_length=teacher.max_length,
        eos_token_id=teacher.eos_token_id,
        mask_token_id=teacher.mask_token_id,
    )
    experiment = tiny_classifier.config(
        name="tiny-student",
        model=DistillationConfig(student, teacher, layers=(1,)),
        objective=DistilMLM(MaskedLM()),
    )
    frozen = dataclasses.replace(experiment.optimizer, frozen=(r"^teacher/",))
    return dataclasses.replace(experiment, optimizer=frozen)
