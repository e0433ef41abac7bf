"""Text with fields: `{premise}` stands for what an example has under that name."""

import string
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from flaxformers_edu.errors import InputError, unknown_name


@dataclass(frozen=True)
class Template:
    r"""A text with fields in braces; two braces are one that is meant as it is.

    >>> Template("{premise}\nQuestion: {hypothesis} {{True or False}}").fields
    ('premise', 'hypothesis')

    Raises:
        InputError: braces that do not pair, or more than a name between them.
    """

    text: str

    def __post_init__(self) -> None:
        _ = self._parts

    @cached_property
    def _parts(self) -> tuple[tuple[str, str | None], ...]:
        """Pieces of text, and the field behind each, None behind the last."""
        try:
            parsed = list(string.Formatter().parse(self.text))
        except ValueError as error:
            raise InputError(
                f"template {self.text!r} cannot be read: {error}; write {{{{ for a brace"
            ) from error
        for _, field, form, conversion in parsed:
            if field is not None and (form or conversion or not field.isidentifier()):
                raise InputError(
                    f"template {self.text!r} has {{{field}}}, which is not the name of a field; "
                    "write {{ for a brace"
                )
        return tuple((text, field) for text, field, _, _ in parsed)

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields, in the order of their first use."""
        return tuple(dict.fromkeys(field for _, field in self._parts if field is not None))

    def fill(self, example: Mapping[str, Any]) -> str:
        """The text for an example.

        Raises:
            InputError: the example lacks a field.
        """
        for field in self.fields:
            if field not in example:
                raise unknown_name("field of the template", field, example)
        return "".join(
            text + ("" if field is None else str(example[field])) for text, field in self._parts
        )
