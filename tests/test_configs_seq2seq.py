"""The recurrent models on Multi30k: one budget of parameters, one way of training."""

import dataclasses

import pytest

from flaxformers_edu.models import seq2seq, transformer
from train.commands.arguments import config_files, load_config

BESIDE = "configs/seq2seq/transformer.py"
NAMES = [
    "configs/seq2seq_multi30k.py",
    *(name for name in config_files() if "configs/seq2seq/" in name and name != BESIDE),
]


def test_all_variants_are_there():
    assert len(NAMES) == 7


@pytest.mark.parametrize("name", NAMES)
def test_as_many_parameters_and_the_same_training_as_the_transformer(name):
    theirs, ours = load_config(BESIDE), load_config(name)
    budget = transformer.parameter_count(theirs.model)
    assert seq2seq.parameter_count(ours.model) == pytest.approx(budget, rel=0.015)
    same = dataclasses.replace(theirs, name=ours.name, model=ours.model, objective=ours.objective)
    assert ours == same
    assert ours.objective.label_smoothing == theirs.objective.label_smoothing
