"""Splits of local files: a file each, or parts of one file."""

from collections.abc import Callable, Sequence
from typing import Any

from flaxformers_edu.errors import InputError
from train.sources.base import SPLITS, check_split, split_of

Examples = Sequence[dict[str, Any]]


def given(value: str, field: str, split: str) -> str:
    """Where a split lies. Raises InputError where the configuration does not say."""
    check_split(split)
    if not value:
        raise InputError(f"there is no {split} data: set {field}")
    return value


def load_part(
    source: Any, split: str, read: Callable[[str], Examples], key: Callable[[dict[str, Any]], str]
) -> Examples:
    """The examples of a split, from the file that `source` names for it.

    Splits that name the training file share it: validation, and test, have about
    `source.held_out` percent of its keys each, and training has the rest. Examples of one key
    stay together, and which split a key is in depends on nothing else.

    Raises:
        InputError: no file is named, `held_out` leaves nothing to train on, or nothing is held out.
    """
    check_split(split)
    path = given(getattr(source, split), split, split)
    examples = read(path)
    sharing = [name for name in SPLITS if getattr(source, name) == source.train]
    if split not in sharing or len(sharing) == 1:
        return examples
    if not 1 <= source.held_out <= 49:
        raise InputError(f"held_out is {source.held_out}; it must be from 1 to 49 percent")

    def part(example: dict[str, Any]) -> str:
        found = split_of(key(example), source.held_out)
        return found if found in sharing else "train"

    chosen = [example for example in examples if part(example) == split]
    if not chosen:
        raise InputError(f"the {split} part of {path} is empty; raise held_out")
    return chosen
