"""The splits of a source: which there are, and which say what is right."""

from typing import Any

from flaxformers_edu.errors import InputError
from train.examples import Examples
from train.experiment import Experiment
from train.protocols import Objective


def load_splits(experiment: Experiment) -> tuple[Examples, Examples, Examples | None]:
    """The examples to train, validate and test on.

    There are none to test on where the source says that it has no such split, or where that split
    keeps its labels secret; `predict` can answer it.

    Raises:
        InputError: a split to train or to validate on has examples without labels.
    """
    source, objective = experiment.source, experiment.objective
    train, validation = source.load("train"), source.load("validation")
    check_labelled(objective, train, "train")
    check_labelled(objective, validation, "validation")
    test = load_split(source, "test")
    if test is not None and first_unlabelled(objective, test) is not None:
        test = None
    return train, validation, test


def load_split(source: Any, split: str) -> Examples | None:
    """The examples of a split; None where the source says that it has no such split.

    A source names where its splits lie in fields called after them; an empty name says there is
    none.
    """
    return None if getattr(source, split, None) == "" else source.load(split)


def first_unlabelled(objective: Objective, examples: Examples) -> int | None:
    """Index of the first example that does not say what is right; None where all do.

    Objectives whose examples may lack that have `labelled(example)`.
    """
    if not hasattr(objective, "labelled"):
        return None
    numbers = range(len(examples))
    return next((i for i in numbers if not objective.labelled(examples[i])), None)


def check_labelled(objective: Objective, examples: Examples, split: str) -> None:
    """Raises InputError for a split with an example that does not say what is right."""
    index = first_unlabelled(objective, examples)
    if index is not None:
        raise InputError(
            f"example {index} of the {split} split has no label: it can be predicted only"
        )
