"""What is known of a family of Hugging Face's models: the names of its weights, task by task.

Each row is read both ways. `*` stands for the layer: here the layers may be stacked (one leaf with
a leading axis, `encoder/layers/...`) or apart (`encoder/layers/3/...`), there they are apart. Two
stand for the group and the layer in it, which here are counted through.
"""

import dataclasses
from collections.abc import Mapping

from flaxformers_edu.errors import unknown_name
from flaxformers_edu.interop.forms import Kind

Row = tuple[str, str, Kind]
"""A module of ours, what it is called there, and its form."""
Rows = tuple[Row, ...]


@dataclasses.dataclass(frozen=True)
class Family:
    """A family of Hugging Face's models."""

    name: str
    """The `model_type` of its config.json."""
    prefix: str
    """Before the names of the body, where a model has a head."""
    body: Rows
    """What every task has, and the pooler."""
    heads: dict[str, Rows]
    """What a task adds."""
    classes: dict[str, str]
    """What `architectures` of config.json calls the model of a task."""
    ties: tuple[tuple[str, str], ...] = ()
    """Names of one and the same tensor: the one that is saved, and the other."""
    tied_tasks: tuple[str, ...] = ("masked_lm", "pretraining")
    """The tasks that compute with the other."""
    other_prefixes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """The prefix of tasks that have another one."""
    saves_other: tuple[str, ...] = ()
    """The tasks that save tied tensors under the other name."""

    @property
    def rows(self) -> Rows:
        """All rows, the heads of all tasks included."""
        return (*self.body, *(row for rows in self.heads.values() for row in rows))

    @property
    def prefixes(self) -> tuple[str, ...]:
        """All prefixes, each with its dot."""
        names = (self.prefix, *self.other_prefixes.values())
        return tuple(f"{name}." for name in dict.fromkeys(names))

    def rows_of(self, task: str) -> Rows:
        """The rows of a task.

        Raises:
            InputError: a task that Hugging Face has no class for.
        """
        if task not in self.classes:
            raise unknown_name(f"task of {self.name}", task, self.classes)
        return (*self.body, *self.heads.get(task, ()))


def within(ours: str, theirs: str, rows: Rows) -> Rows:
    """The rows of modules inside these two."""
    return tuple((f"{ours}/{here}", f"{theirs}.{there}", kind) for here, there, kind in rows)
