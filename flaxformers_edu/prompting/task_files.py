"""Tasks from files: JSON, or Python where a task needs more than a table.

A JSON file is an object with the "kind" of the task (choice, cloze, generation or text), the fields
of that kind, and under "train", "validation" and "test" a .jsonl file (relative to the task's, or
with $VARIABLES) or a list of objects. A Python file has a function `task()` that returns a task,
and a function `examples(split)`.
"""

import dataclasses
import importlib.util
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from flaxformers_edu.errors import InputError, unknown_name
from flaxformers_edu.prompting.tasks import KINDS, Example, Task

SPLITS = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True)
class TaskFile:
    """A task and its data."""

    task: Task
    examples: Callable[[str], Sequence[Example]]
    """The examples of train, validation or test; an InputError where there are none."""


def load_task(path: str | Path) -> TaskFile:
    """The task of a file, by its ending.

    Raises:
        InputError: the file is not there, cannot be read, or holds no task.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no task file {path}")
    if path.suffix == ".py":
        return _of_module(_run(path), path)
    if path.suffix == ".json":
        return _of_json(path)
    raise InputError(f"task file {path} must end with .json or .py")


def task_of(fields: Mapping[str, Any]) -> Task:
    """A task from its "kind" and the fields of that kind, as JSON has them.

    Raises:
        InputError: an unknown kind or field, a field that is lacking, or a value of another type.
    """
    fields = dict(fields)
    kind = fields.pop("kind", None)
    if kind not in KINDS:
        raise unknown_name("kind of task", kind, KINDS)
    known = {field.name: field for field in dataclasses.fields(KINDS[kind])}
    for name, value in fields.items():
        if name not in known:
            raise unknown_name(f"field of a {kind} task", name, known)
        fields[name] = tuple(value) if isinstance(value, list) else value
        _check_type(kind, known[name], fields[name])
    for name, field in known.items():
        if name not in fields and field.default is dataclasses.MISSING:
            raise InputError(f"a {kind} task needs the field {name!r}")
    return KINDS[kind](**fields)


def _check_type(kind: str, field: dataclasses.Field, value: Any) -> None:
    """By the default's type: JSON has no others. Fields without a default are texts."""
    default = "" if field.default is dataclasses.MISSING else field.default
    wanted = (int, float) if isinstance(default, float) else type(default)
    texts = not isinstance(value, tuple) or all(isinstance(one, str) for one in value)
    if not isinstance(value, wanted) or isinstance(value, bool) or not texts:
        name = {tuple: "a list of texts", str: "a text", int: "a whole number", float: "a number"}
        raise InputError(
            f"field {field.name!r} of a {kind} task is {value!r}; it must be {name[type(default)]}"
        )


def _of_json(path: Path) -> TaskFile:
    content = _object(path.read_bytes(), str(path))
    data = {split: content.pop(split) for split in SPLITS if split in content}

    def examples(split: str) -> Sequence[Example]:
        _check_split(split)
        if split not in data:
            raise InputError(f"{path} has no {split!r}")
        found = data[split]
        if isinstance(found, str):
            found = _lines(path.parent / os.path.expandvars(os.path.expanduser(found)))
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise InputError(f"{split!r} of {path} must be a list of objects, or a .jsonl file")
        return found

    return TaskFile(task_of(content), examples)


def _of_module(module: ModuleType, path: Path) -> TaskFile:
    for name in ("task", "examples"):
        if not callable(getattr(module, name, None)):
            raise InputError(f"{path} has no function {name}")
    task = module.task()
    if not isinstance(task, Task):
        raise InputError(f"task() of {path} returns a {type(task).__name__}, not a task")

    def examples(split: str) -> Sequence[Example]:
        _check_split(split)
        return module.examples(split)

    return TaskFile(task, examples)


def _check_split(split: str) -> None:
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)


def _run(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("flaxformers_edu_task", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _lines(path: Path) -> list[Any]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    return [
        _object(line, f"{path}, line {number},")
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]


def _object(text: bytes, where: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InputError(f"{where} is not valid JSON: {error}") from error
    if not isinstance(found, dict):
        raise InputError(f"{where} is not a JSON object")
    return found
