"""Fields of examples, and the columns of the data that they come from.

A field is written NAME=COLUMN, on the command line too: label=gold_label. The column may be

    a/b     b within a (of each element, where a is a list)
    a,b     a list of several columns: choices=option1,option2
    a+b     several columns with a space between them: text_pair=question+answer
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flaxformers_edu.errors import InputError


def parse_columns(columns: Sequence[str]) -> dict[str, str]:
    """Field -> column, of fields written NAME=COLUMN.

    Raises:
        InputError: one is not written so, or names a field twice.
    """
    found: dict[str, str] = {}
    for written in columns:
        field, _, column = written.partition("=")
        if not field or not column:
            raise InputError(f"columns has {written!r}; write FIELD=COLUMN, such as label=2")
        if field in found:
            raise InputError(f"columns has two columns for {field!r}")
        found[field] = column
    return found


def names_in(column: str) -> list[str]:
    """The columns of the data that a field's column is made of.

    >>> names_in("option1,option2")
    ['option1', 'option2']
    """
    return re.split(r"[,+]", column)


def value_at(example: Mapping[str, Any], name: str) -> Any:
    """A column by its name, a/b for b within a. Raises KeyError where it is not there."""
    if name in example:
        return example[name]
    value: Any = example
    for part in name.split("/"):
        values = value if isinstance(value, list) else [value]
        if not all(isinstance(inner, Mapping) and part in inner for inner in values):
            raise KeyError(name)
        found = [inner[part] for inner in values]
        value = found if isinstance(value, list) else found[0]
    return value


def picked(column: str, value_of: Callable[[str], Any]) -> Any:
    """What a field's column says, given the value of each column of the data."""
    if "," in column:
        return [value_of(name) for name in names_in(column)]
    if "+" in column:
        return " ".join(str(value_of(name)) for name in names_in(column))
    return value_of(column)


def by_name(value: Any, names: Sequence[str] | None) -> Any:
    """A class's number, or a list of them, as its name among `names`; None: there are no classes.

    Names are what objectives go by; numbers would depend on the order in which a data set has them.
    A number below 0, a hidden label, stays.
    """
    if names is None:
        return value
    if isinstance(value, list):
        return [by_name(inner, names) for inner in value]
    return names[value] if value >= 0 else value


class Picked(Sequence):
    """Examples whose fields are picked from those of others when they are asked for."""

    def __init__(self, examples: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> None:
        """columns: field -> column."""
        self.examples = examples
        self.columns = dict(columns)

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.examples)

    def __getitem__(self, index: int) -> dict[str, Any]:  # type: ignore[override]
        """Example `index`.

        Raises:
            InputError: it lacks a column.
        """
        example = self.examples[index]
        try:
            return {
                field: picked(column, lambda name: value_at(example, name))
                for field, column in self.columns.items()
            }
        except KeyError as error:
            raise InputError(
                f"example {index} has no {error.args[0]!r}; it has {', '.join(example)}"
            ) from error
