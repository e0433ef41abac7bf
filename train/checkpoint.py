"""Checkpoints by orbax: asynchronous, atomic, verified; some of them are kept.

DIR/checkpoints/STEP is written under another name and renamed when it is whole; all processes write
their shards of it. Its manifest (`train/manifest.py`) holds the shapes of the parameters, a hash of
each file, and what the evaluation of that step found. Process 0 alone decides what there is.
"""

import contextlib
import dataclasses
import math
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging as absl_logging

from flaxformers_edu.errors import InputError
from train import peers
from train.manifest import (
    Damaged,
    check_files,
    hashed_files,
    hashes,
    read_manifest,
    write_manifest,
)
from train.state import TrainState

FOLDER = "checkpoints"

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
        files = hashes(folder, hashed_files(folder))
        write_manifest(folder, {**self.description, "files": files})


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
        keep_every: int = 0,
        read_only: bool = False,
    ) -> None:
        """Keeps the newest `keep_last`, the best by `metric`, and every `keep_every`-th step."""
        self.folder = workdir.absolute() / FOLDER
        self.metric = metric
        self._sign = 1.0 if higher_is_better else -1.0
        self._keep_last, self._keep_every = keep_last, keep_every
        self._read_only = read_only
        self._handler = _Handler()
        # Errors are raised to us: orbax's own report of them, with tracebacks, would be a second.
        absl_logging.set_verbosity(absl_logging.FATAL)
        self._checkpointer = ocp.AsyncCheckpointer(self._handler)
        if not read_only:
            peers.first_decides(self._prepare)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: Any, *_: object) -> None:
        # An error that is on its way out matters more than one of closing.
        with contextlib.suppress(Exception) if kind else contextlib.nullcontext():
            self.wait()
        self._checkpointer.close()
        if kind and not self._read_only and peers.index() == 0:
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
            peers.first_decides(lambda: self._check_space(state))
            self._checkpointer.save(self.folder / str(step), args=_Save(state))

    def wait(self) -> None:
        """Until what was begun is safely on disk; then removes what need not be kept.

        Raises:
            OSError: it cannot be written.
        """
        with self._writing():
            self._checkpointer.wait_until_finished()
        if peers.index() == 0:
            for step in set(self._listed()) - self._kept():
                # Renamed first, so that a half removed folder is never taken for a checkpoint.
                doomed = self.folder / f"{step}.deleted"
                (self.folder / str(step)).rename(doomed)
                shutil.rmtree(doomed, ignore_errors=True)

    def rate(self, step: int, metrics: dict[str, float]) -> None:
        """Notes what the evaluation of a saved step found."""
        self.wait()
        if peers.index() == 0:
            where = self.folder / str(step)
            write_manifest(where, {**self._manifest(step), "metrics": metrics})

    def steps(self) -> list[int]:
        """Steps of which there is a checkpoint, ascending."""
        return peers.first_decides(self._listed)

    def metrics(self, step: int) -> dict[str, float]:
        """What `rate` noted; empty before.

        Raises:
            InputError: the checkpoint is damaged.
        """
        return peers.first_decides(lambda: self._manifest(step)["metrics"])

    def choose(self, which: str) -> int:
        """The step of "last", "best" or of a number.

        Raises:
            InputError: there is no such checkpoint.
        """
        return peers.first_decides(lambda: self._choose(which))

    def set_aside_damaged(self) -> int | None:
        """If the newest checkpoint is damaged, renames it: the one before is then the newest.

        Returns:
            The step that was set aside, or None.

        Raises:
            InputError: there is none before it.
        """
        steps = self.steps()
        if not steps or not (reason := self._damage(steps[-1])):
            return None
        if len(steps) == 1:
            raise self._damaged(steps[-1], reason)
        return peers.first_decides(lambda: self._set_aside(steps[-1]))

    def restore(self, step: int, abstract: TrainState) -> TrainState:
        """The state of a step, each array in its place on the mesh.

        Raises:
            InputError: the checkpoint is damaged, or of another architecture.
        """
        where = self.folder / str(step)
        if reason := self._damage(step):
            raise self._damaged(step, reason)
        wanted = {name: list(leaf.shape) for name, leaf in _named_leaves(abstract.params)}
        there = self._manifest(step)["params"]
        for name in sorted(there.keys() | wanted.keys()):
            if there.get(name) != wanted.get(name):
                raise InputError(
                    f"checkpoint {where} is of another architecture: parameter {name} is "
                    f"{there.get(name, 'absent')} there and {wanted.get(name, 'absent')} in the "
                    "model; use the config it was trained with, or another --workdir"
                )
        # An earlier version knew fewer parts of a state; those that it did not know are none.
        known = self._checkpointer.metadata(where).item_metadata.tree
        parts = {f.name: getattr(abstract, f.name) for f in dataclasses.fields(abstract)}
        for name, part in parts.items():
            if part is not None and name not in known:
                raise InputError(f"checkpoint {where} was written without the state's {name}")
        wanted_parts = {name: part for name, part in parts.items() if name in known}
        restored = self._checkpointer.restore(where, args=_Restore(wanted_parts))
        return type(abstract)(**(dict.fromkeys(parts) | restored))

    def _damage(self, step: int) -> str:
        """What is wrong with a checkpoint, or "": each process reads its share of the files."""
        found = ""
        try:
            folder = self.folder / str(step)
            check_files(folder, read_manifest(folder), share=peers.index(), of=peers.number())
        except Damaged as error:
            found = str(error)
        return peers.first_judges(found, lambda all_found: next(filter(None, all_found), ""))

    # --- What process 0 does -------------------------------------------------------------------

    def _prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._remove_unfinished()

    def _listed(self) -> list[int]:
        return steps_in(self.folder.parent)

    def _choose(self, which: str) -> int:
        steps = self._listed()
        if not steps:
            raise InputError(f"{self.folder} holds no finished checkpoint")
        if which == "last":
            return steps[-1]
        if which == "best":
            return max(
                steps, key=lambda step: (self._goodness(self._manifest(step)["metrics"]), step)
            )
        if which.isdecimal() and int(which) in steps:
            return int(which)
        there = ", ".join(map(str, steps))
        raise InputError(f"checkpoint {which!r} is not there; choose last, best, or one of {there}")

    def _set_aside(self, step: int) -> int:
        aside = self.folder / f"{step}.damaged"
        if aside.exists():  # of an earlier time
            aside = self.folder / f"{step}.damaged-{time.time_ns()}"
        (self.folder / str(step)).rename(aside)
        return step

    def _manifest(self, step: int) -> dict[str, Any]:
        try:
            return read_manifest(self.folder / str(step))
        except Damaged as error:
            raise self._damaged(step, str(error)) from error

    def _damaged(self, step: int, reason: str) -> InputError:
        before = [s for s in self._listed() if s < step]
        remedy = (
            f"`run ... --resume previous` sets it aside and goes on from step {before[-1]}"
            if before
            else "there is none before it: delete it to start from the beginning"
        )
        where = self.folder / str(step)
        return InputError(f"checkpoint {where} is damaged ({reason}); {remedy}")

    def _goodness(self, metrics: dict[str, float]) -> float:
        value = metrics.get(self.metric)
        return self._sign * value if value is not None and math.isfinite(value) else -math.inf

    def _kept(self) -> set[int]:
        """The newest, the best, every n-th, and the damaged: whoever owns those decides."""
        steps, rated = self._listed(), {}
        kept = set(steps[-self._keep_last :])
        if self._keep_every:
            kept.update(step for step in steps if step % self._keep_every == 0)
        for step in steps:
            try:
                rated[step] = self._goodness(self._manifest(step)["metrics"])
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
            if peers.number() > 1 and _is_of_the_runtime(error):
                raise  # another process died
            if peers.index() == 0:
                self._remove_unfinished()
            lines = str(error).strip().splitlines() or [repr(error)]
            raise OSError(f"cannot write a checkpoint into {self.folder}: {lines[0]}") from error

    def _remove_unfinished(self) -> None:
        for pattern in UNFINISHED:
            for path in self.folder.glob(pattern):
                shutil.rmtree(path, ignore_errors=True)


def steps_in(workdir: Path) -> list[int]:
    """Steps of which there is a checkpoint in a run's folder, ascending."""
    folder = workdir / FOLDER
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return sorted(int(name) for name in names if name.isdecimal())


def _named_leaves(tree: Any) -> list[tuple[str, Any]]:
    pairs, _ = jax.tree_util.tree_flatten_with_path(tree)
    return [(jax.tree_util.keystr(path, simple=True, separator="/"), leaf) for path, leaf in pairs]


def _is_of_the_runtime(error: BaseException | None) -> bool:
    """Whether jax's runtime, rather than storage, is at the root of an error."""
    while error is not None:
        if isinstance(error, jax.errors.JaxRuntimeError):
            return True
        error = error.__cause__
    return False
