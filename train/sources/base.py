"""What the sources share: splits, and examples kept as columns."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from flaxformers_edu.errors import unknown_name

SPLITS = ("train", "validation", "test")


class Source(Protocol):
    """Configuration of a data source, as an experiment names it."""

    def load(self, split: str) -> Sequence[dict[str, Any]]:
        """The examples of "train", "validation" or "test", with random access."""
        ...


def check_split(split: str) -> None:
    """Raise InputError where `split` is not one of SPLITS."""
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)


def split_of(key: str, held_out: int) -> str:
    """The split a key belongs to, for ever and on every machine.

    Of 100 keys about `held_out` go to validation and as many to test.
    """
    number = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big") % 100
    if number < held_out:
        return "validation"
    return "test" if number < 2 * held_out else "train"


class Columns(Sequence):
    """Examples whose fields are columns of equal length: example i takes entry i of each."""

    def __init__(self, columns: Mapping[str, Sequence[Any]]) -> None:
        """columns: name -> values, all of one length."""
        self.columns = dict(columns)

    def __len__(self) -> int:
        """Number of examples."""
        return len(next(iter(self.columns.values())))

    def __getitem__(self, index: int) -> dict[str, Any]:  # type: ignore[override]
        """Example `index`."""
        return {name: values[index] for name, values in self.columns.items()}
