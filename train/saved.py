"""An experiment as JSON and back, and whether a folder's run may go on as another experiment."""

import dataclasses
import importlib
from pathlib import Path
from typing import Any

from flaxformers_edu.errors import InputError, unknown_name
from train.experiment import Experiment

MAY_CHANGE = (
    *("name", "steps", "mesh", "decoding"),
    *("log_every", "eval_every", "eval_examples", "checkpoint_every", "keep_last", "keep_every"),
    *("patience", "profile"),
    *("bad_steps.max_in_a_row", "bad_steps.leave_out", "bad_steps.max_rollbacks"),
)
"""Fields that a resumed run may change: all others decide what its numbers mean. The limits of
`bad_steps` are the way on for a run that they have stopped."""


def to_json(value: Any) -> Any:
    """A tree of dataclasses as JSON values; each dataclass says which it is under "class"."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kind = f"{type(value).__module__}:{type(value).__qualname__}"
        fields = {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"class": kind, **fields}
    if isinstance(value, (tuple, list)):
        return [to_json(v) for v in value]
    if isinstance(value, Path):
        return str(value)
    return value


def from_json(value: Any) -> Any:
    """The inverse of `to_json`; builds dataclasses of this project only.

    Raises:
        InputError: a class or a field that this version does not know, or that is missing.
    """
    if isinstance(value, list):
        return tuple(from_json(v) for v in value)
    if not isinstance(value, dict):
        return value
    kind = _class_named(value.get("class"))
    known = {f.name for f in dataclasses.fields(kind)}
    fields = {name: from_json(v) for name, v in value.items() if name != "class"}
    for name in sorted(fields.keys() - known):
        raise unknown_name(f"field of {kind.__name__}", name, known)
    try:
        return kind(**fields)
    except TypeError as error:  # a field is missing, or its value is of another type
        raise InputError(f"{kind.__name__} cannot be built: {error}") from error


def _class_named(name: Any) -> Any:
    module, _, kind_name = str(name).partition(":")
    if module.partition(".")[0] not in ("flaxformers_edu", "train"):
        raise InputError(f"class {name!r} is not of this project")
    try:
        kind = getattr(importlib.import_module(module), kind_name, None)
    except ModuleNotFoundError:
        kind = None
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        raise InputError(f"class {name!r} is unknown to this version")
    return kind


def differences(old: Any, new: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    """Leaves of two JSON trees that differ, as (dotted path, old, new)."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return [] if old == new else [(path, old, new)]
    found = []
    for key in sorted(old.keys() | new.keys()):
        inner = f"{path}.{key}" if path else key
        found += differences(old.get(key), new.get(key), inner)
    return found


def with_newer_fields(saved: Any, now: Any) -> Any:
    """What an earlier version wrote, with the defaults of fields that it did not know.

    Classes are those of `now`, the experiment that it is compared with: those of a config file of
    the user's own cannot be looked up by the names that are written.
    """
    if isinstance(saved, list) and isinstance(now, (tuple, list)) and len(saved) == len(now):
        return [with_newer_fields(old, new) for old, new in zip(saved, now, strict=True)]
    if not (isinstance(saved, dict) and dataclasses.is_dataclass(now)):
        return saved
    known = dict(saved)
    for field in dataclasses.fields(now):
        if field.name in saved:
            known[field.name] = with_newer_fields(saved[field.name], getattr(now, field.name))
        elif field.default is not dataclasses.MISSING:
            known[field.name] = to_json(field.default)
        elif field.default_factory is not dataclasses.MISSING:
            known[field.name] = to_json(field.default_factory())
    return known


def check_same_run(saved: Any, experiment: Experiment, workdir: Path) -> None:
    """Refuses to resume a run, of which a folder has `saved`, as another experiment.

    Raises:
        InputError: naming the first field that differs and may not.
    """
    old = with_newer_fields(saved, experiment)
    for path, before, after in differences(old, to_json(experiment)):
        if path not in MAY_CHANGE and path.partition(".")[0] not in MAY_CHANGE:
            raise InputError(
                f"{workdir} holds a run with {path}={before!r}, and now it is {after!r}; "
                "resume it with the same value, or give another --workdir"
            )
