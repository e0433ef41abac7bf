import dataclasses

import pytest

from flaxformers_edu.errors import InputError
from flaxformers_edu.objectives import Translation
from tests.train.tiny import config
from train.sources import ParallelFiles
from train.splits import load_split, load_splits


def test_an_empty_name_is_no_split():
    assert load_split(ParallelFiles(test=""), "test") is None
    assert load_split(config().source, "test") is not None


class Secretive(Translation):
    """Knows an example without a label by its empty target."""

    def labelled(self, example):
        return bool(example["target"])


@dataclasses.dataclass(frozen=True)
class Source:
    unlabelled: str

    def load(self, split):
        targets = ["a", "" if split == self.unlabelled else "b"]
        return [{"source": "x", "target": target} for target in targets]


def test_a_test_split_with_secret_labels_is_none():
    experiment = config(objective=Secretive(), source=Source("test"))
    train, validation, test = load_splits(experiment)
    assert len(train) == len(validation) == 2 and test is None
    assert load_splits(config(objective=Secretive(), source=Source("none")))[2] is not None
    assert load_splits(config(source=Source("test")))[2] is not None  # translations need none


@pytest.mark.parametrize("split", ["train", "validation"])
def test_other_splits_must_say_what_is_right(split):
    experiment = config(objective=Secretive(), source=Source(split))
    with pytest.raises(InputError, match=f"example 1 of the {split} split has no label"):
        load_splits(experiment)
