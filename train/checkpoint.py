"""Checkpoints by orbax: asynchronous, atomic, verified; the newest ones and the best one are kept.

DIR/checkpoints/STEP is written under another name and renamed when it is whole. Its manifest.json
holds the shapes of the parameters, the size and SHA-256 of each file, and what the evaluation of
that step found. Nothing is read before the hashes agree: orbax itself restores arrays in which a
bit is flipped without a word.
"""

import contextlib
import hashlib
import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging as absl_logging

from flaxformers_edu.errors import InputError
from train.log import write_atomically
from train.state import TrainState

MANIFEST = "manifest.json"
LIVE_FILES = (MANIFEST, "_CHECKPOINT_METADATA", "commit_success.txt")
"""Written after the hashes are taken; no array depends on them."""
UNFINISHED = ("*orbax-checkpoint-tmp*", "*.deleted")
"""Names of what a killed process was still writing or removing."""

SLACK = 2**20
"""Bytes of a checkpoint beside its arrays, and a margin."""


class _Handler(ocp.StandardCheckpointHandler):
    """Adds the manifest as the last file before a checkpoint gets its name."""

    description: dict[str, Any] = {}

    def finalize(self, directory: Any) -> None:
        super().finalize(directory)
        folder = Path(directory)
        _write_manifest(folder, {**self.description, "files": _hashes(folder)})


@ocp.args.register_with_handler(_Handler, for_save=True)
class _Save(ocp.args.StandardSave):
    """What to save, for our handler."""


@ocp.args.register_with_handler(_Handler, for_restore=True)
class _Restore(ocp.args.StandardRestore):
    """What to restore, for our handler."""


class Checkpoints:
    """The checkpoints of a run; use as a context manager."""

    def __init__(
        self,
        workdir: Path,
        *,
        metric: str,
        higher_is_better: bool,
        keep_last: int = 2,
        read_only: bool = False,
    ) -> None:
        self.folder = workdir.absolute() / "checkpoints"
        self.metric = metric
        self._sign = 1.0 if higher_is_better else -1.0
        self._keep_last = keep_last
        self._read_only = read_only
        self._handler = _Handler()
        # Errors are raised to us: orbax's own report of them, with tracebacks, would be a second.
        absl_logging.set_verbosity(absl_logging.FATAL)
        self._checkpointer = ocp.AsyncCheckpointer(self._handler)
        if not read_only:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._remove_unfinished()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: Any, *_: object) -> None:
        # An error that is on its way out matters more than one of closing.
        with contextlib.suppress(Exception) if kind else contextlib.nullcontext():
            self.wait()
        self._checkpointer.close()
        if kind and not self._read_only:
            self._remove_unfinished()

    def save(self, state: TrainState) -> None:
        """Begins to save; training goes on meanwhile. A step that is there already is left alone.

        Raises:
            OSError: this one, or the one before, cannot be written.
        """
        self.wait()
        step = int(state.step)
        if step in self.steps():
            return
        shapes = {name: list(leaf.shape) for name, leaf in _named_leaves(state.params)}
        self._handler.description = {"step": step, "metrics": {}, "params": shapes}
        with self._writing():
            self._check_space(state)
            self._checkpointer.save(self.folder / str(step), args=_Save(state))

    def wait(self) -> None:
        """Until what was begun is safely on disk; then removes what need not be kept.

        Raises:
            OSError: it cannot be written.
        """
        with self._writing():
            self._checkpointer.wait_until_finished()
        if jax.process_index() == 0:
            for step in set(self.steps()) - self._kept():
                # Renamed first, so that a half removed folder is never taken for a checkpoint.
                doomed = self.folder / f"{step}.deleted"
                (self.folder / str(step)).rename(doomed)
                shutil.rmtree(doomed, ignore_errors=True)

    def rate(self, step: int, metrics: dict[str, float]) -> None:
        """Notes what the evaluation of a saved step found."""
        self.wait()
        if jax.process_index() == 0:
            where = self.folder / str(step)
            _write_manifest(where, {**self._manifest(step), "metrics": metrics})

    def steps(self) -> list[int]:
        """Steps of which there is a checkpoint, ascending."""
        if not self.folder.is_dir():
            return []
        return sorted(int(path.name) for path in self.folder.iterdir() if path.name.isdecimal())

    def metrics(self, step: int) -> dict[str, float]:
        """What `rate` noted; empty before.

        Raises:
            InputError: the checkpoint is damaged.
        """
        return self._manifest(step)["metrics"]

    def choose(self, which: str) -> int:
        """The step of "last", "best" or of a number.

        Raises:
            InputError: there is no such checkpoint.
        """
        steps = self.steps()
        if not steps:
            raise InputError(f"{self.folder} holds no finished checkpoint")
        if which == "last":
            return steps[-1]
        if which == "best":
            return max(steps, key=lambda step: (self._goodness(self.metrics(step)), step))
        if which.isdecimal() and int(which) in steps:
            return int(which)
        there = ", ".join(map(str, steps))
        raise InputError(f"checkpoint {which!r} is not there; choose last, best, or one of {there}")

    def restore(self, step: int, abstract: TrainState) -> TrainState:
        """The state of a step, each array in its place on the mesh.

        Raises:
            InputError: the checkpoint is damaged, or of another architecture.
        """
        where = self.folder / str(step)
        manifest = self._manifest(step)
        found_files = _hashes(where)
        for name, expected in manifest["files"].items():
            if found_files.get(name) != expected:
                raise self._damaged(step, f"{name} is missing or not what was written")
        wanted = {name: list(leaf.shape) for name, leaf in _named_leaves(abstract.params)}
        there = manifest["params"]
        for name in sorted(there.keys() | wanted.keys()):
            if there.get(name) != wanted.get(name):
                raise InputError(
                    f"checkpoint {where} is of another architecture: parameter {name} is "
                    f"{there.get(name, 'absent')} there and {wanted.get(name, 'absent')} in the "
                    "model; use the config it was trained with, or another --workdir"
                )
        return self._checkpointer.restore(where, args=_Restore(abstract))

    def _manifest(self, step: int) -> dict[str, Any]:
        try:
            text = (self.folder / str(step) / MANIFEST).read_text(encoding="utf-8")
            manifest = json.loads(text)
            manifest["metrics"], manifest["params"], manifest["files"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise self._damaged(step, f"{MANIFEST} is missing or unreadable") from error
        return manifest

    def _damaged(self, step: int, reason: str) -> InputError:
        before = [s for s in self.steps() if s != step]
        remedy = f"use that of step {before[-1]}" if before else "start from the beginning"
        where = self.folder / str(step)
        return InputError(f"checkpoint {where} is damaged ({reason}); delete it to {remedy}")

    def _goodness(self, metrics: dict[str, float]) -> float:
        value = metrics.get(self.metric)
        return self._sign * value if value is not None and math.isfinite(value) else -math.inf

    def _kept(self) -> set[int]:
        """The newest, the best, and any that are damaged: whoever owns them decides."""
        steps, kept, rated = self.steps(), set(), {}
        kept.update(steps[-self._keep_last :])
        for step in steps:
            try:
                rated[step] = self._goodness(self.metrics(step))
            except InputError:
                kept.add(step)
        if rated:
            kept.add(max(rated, key=lambda step: (rated[step], step)))
        return kept

    def _check_space(self, state: TrainState) -> None:
        """Refuses to begin what cannot be ended: the threads of tensorstore die noisily."""
        needed = SLACK + sum(leaf.nbytes for leaf in jax.tree.leaves(state))
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            raise OSError(
                f"the disk is full ({needed / 2**20:,.1f} MiB are needed, {free / 2**20:,.1f} free)"
            )

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Errors of storage, of whatever kind orbax or tensorstore make them, as OSError."""
        try:
            yield
        except Exception as error:
            self._remove_unfinished()
            lines = str(error).strip().splitlines() or [repr(error)]
            raise OSError(f"cannot write a checkpoint into {self.folder}: {lines[0]}") from error

    def _remove_unfinished(self) -> None:
        for pattern in UNFINISHED:
            for path in self.folder.glob(pattern):
                shutil.rmtree(path, ignore_errors=True)


def _named_leaves(tree: Any) -> list[tuple[str, Any]]:
    pairs, _ = jax.tree_util.tree_flatten_with_path(tree)
    return [(jax.tree_util.keystr(path, simple=True, separator="/"), leaf) for path, leaf in pairs]


def _hashes(folder: Path) -> dict[str, list[Any]]:
    """Size and SHA-256 of each file, by its path within the folder."""
    found: dict[str, list[Any]] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name not in LIVE_FILES:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            found[path.relative_to(folder).as_posix()] = [path.stat().st_size, digest]
    return found


def _write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    write_atomically(folder / MANIFEST, json.dumps(manifest) + "\n")
