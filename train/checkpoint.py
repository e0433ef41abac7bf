"""Checkpoints by orbax: asynchronous, atomic, the newest ones and the best one kept."""

import shutil
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as managers

from flaxformers_edu.errors import InputError
from train.state import TrainState


class Checkpoints:
    """The checkpoints of a run, DIR/checkpoints/STEP; use as a context manager."""

    def __init__(
        self,
        workdir: Path,
        *,
        metric: str,
        higher_is_better: bool,
        keep_last: int = 2,
        read_only: bool = False,
    ) -> None:
        self.folder = workdir / "checkpoints"
        self.metric = metric
        sign = 1.0 if higher_is_better else -1.0
        self._worst = float("-inf")

        def goodness(metrics: dict[str, float] | None) -> float:
            value = (metrics or {}).get(metric)
            return self._worst if value is None else sign * value

        self._goodness = goodness
        if not read_only:
            self.folder.mkdir(parents=True, exist_ok=True)
            remove_unfinished(self.folder)
        keep = managers.AnyPreservationPolicy(
            [
                managers.LatestN(keep_last),
                managers.BestN(
                    get_metric_fn=goodness, n=1, keep_checkpoints_without_metrics=False
                ),
            ]
        )
        options = ocp.CheckpointManagerOptions(
            preservation_policy=keep, read_only=read_only, create=not read_only
        )
        self._manager = ocp.CheckpointManager(self.folder.absolute(), options=options)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self._manager.close()

    def save(self, state: TrainState, metrics: dict[str, float] | None = None) -> None:
        """Begins to save; training goes on meanwhile. A step that is there already is left alone."""
        step = int(state.step)
        if step in self._manager.all_steps():
            return
        self._manager.save(
            step, args=ocp.args.StandardSave(state), metrics=metrics or {}, force=True
        )

    def wait(self) -> None:
        """Until what was begun is safely on disk; raises what went wrong."""
        self._manager.wait_until_finished()

    def steps(self) -> list[int]:
        """Steps of which there is a checkpoint."""
        return sorted(self._manager.all_steps())

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
            return max(steps, key=lambda step: (self._goodness(self._manager.metrics(step)), step))
        if which.isdigit() and int(which) in steps:
            return int(which)
        there = ", ".join(map(str, steps))
        raise InputError(f"checkpoint {which!r} is not there; choose last, best, or one of {there}")

    def restore(self, step: int, abstract: TrainState) -> TrainState:
        """The state of a step, each array in its place on the mesh.

        Raises:
            InputError: the checkpoint is of another architecture, or damaged.
        """
        where = self.folder / str(step)
        try:
            self._check_architecture(step, abstract, where)
            return self._manager.restore(step, args=ocp.args.StandardRestore(abstract))
        except InputError:
            raise
        except Exception as error:
            others = [s for s in self.steps() if s != step]
            remedy = f"delete {where} to go on from step {others[-1]}" if others else "start anew"
            reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else repr(error)
            raise InputError(
                f"checkpoint {where} is damaged ({type(error).__name__}: {reason}); {remedy}"
            ) from error

    def _check_architecture(self, step: int, abstract: TrainState, where: Path) -> None:
        saved = self._manager.item_metadata(step)
        tree = getattr(saved, "tree", saved)
        found = {path: leaf.shape for path, leaf in _leaves(dict(tree)["params"])}
        wanted = {path: leaf.shape for path, leaf in _leaves(abstract.params)}
        for path in sorted(found.keys() | wanted.keys()):
            if found.get(path) != wanted.get(path):
                raise InputError(
                    f"checkpoint {where} is of another architecture: {path} is "
                    f"{found.get(path, 'absent')} there and {wanted.get(path, 'absent')} in the "
                    "model; use the config it was trained with, or another --workdir"
                )


def _leaves(tree: Any) -> list[tuple[str, Any]]:
    pairs, _ = jax.tree_util.tree_flatten_with_path(tree)
    return [(jax.tree_util.keystr(path, simple=True, separator="/"), leaf) for path, leaf in pairs]


def remove_unfinished(folder: Path) -> None:
    """Removes what a killed process was still writing: it was never a checkpoint."""
    for path in folder.glob("*orbax-checkpoint-tmp*"):
        shutil.rmtree(path, ignore_errors=True)
