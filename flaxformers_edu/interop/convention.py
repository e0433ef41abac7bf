"""How a family's config.json is read and written: which of our fields is which of theirs."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from flaxformers_edu.interop.family import Family

Field = tuple[str, str, Any]
"""Our field, theirs, and what they take where config.json does not say."""

ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_accurate": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "quick_gelu": "quick_gelu",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
    "tanh": "tanh",
}
"""Hugging Face's names, and ours; of several, the first is written."""


@dataclasses.dataclass(frozen=True)
class Translation:
    """Fields that are not one for one."""

    ours: tuple[str, ...]
    """Of our config."""
    theirs: tuple[str, ...]
    """Of config.json; the first is written."""
    read: Callable[[Mapping[str, Any]], dict[str, Any]]
    """config.json -> our fields."""
    write: Callable[[Any], Any]
    """Our config -> the value of their first field."""


@dataclasses.dataclass(frozen=True)
class Convention:
    """How a family's config.json is read and written."""

    family: Family
    """The names of its weights."""
    make: type[Any]
    """Our config."""
    fields: tuple[Field, ...]
    """What has an equal in ours."""
    required: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Options that ours computes in one way only: those, which are also the defaults."""
    counts_padding: bool = False
    """Whether their number of positions counts the rows up to that of padding."""
    activations: Mapping[str, str] = dataclasses.field(default_factory=lambda: ACTIVATIONS)
    """Their names of activations, and ours."""
    translations: tuple[Translation, ...] = ()
    """Fields that are not one for one."""
    training: tuple[str, ...] = ()
    """Fields of training alone that theirs have no word for."""
