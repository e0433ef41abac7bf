"""What a ladder's runs came to: one record a point, from its folder; kept in DIR/points.json."""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from flaxformers_edu.errors import InputError
from train.log import METRICS, read_records, write_atomically
from train.scaling.optima import Curve


@dataclasses.dataclass(frozen=True)
class Measured:
    """One finished run."""

    name: str
    """Its folder's name."""
    params: int
    """Parameters without embeddings and positions (Kaplan's N)."""
    total_params: int
    """All parameters (Chinchilla's N)."""
    width: int
    """Hidden size."""
    learning_rate: float
    """Peak of its schedule."""
    parametrisation: str
    """Of its model: standard, or muP."""
    budget: float
    """FLOPs of its IsoFLOP profile; 0 where it belongs to none."""
    flops_per_token: float
    """Of training: three times the forward pass."""
    tokens: float
    """Targets trained on, padding not counted."""
    loss: float
    """Validation loss at the end, nats a token."""
    curve: tuple[tuple[float, float], ...]
    """(tokens, validation loss) of every evaluation."""

    @property
    def flops(self) -> float:
        """FLOPs of the whole training."""
        return self.flops_per_token * self.tokens

    def as_curve(self) -> Curve:
        """Validation loss by compute."""
        tokens_K, loss_K = np.array(self.curve, np.float64).T
        return Curve(self.total_params, self.flops_per_token * tokens_K, tokens_K, loss_K)


def read_curve(workdir: Path) -> tuple[tuple[float, float], ...]:
    """(tokens, validation loss) of a finished run.

    A logged step's tokens stand for those of the steps since the last one: every batch holds
    nearly the same number.

    Raises:
        InputError: the folder holds no evaluations.
    """
    records = read_records(workdir / METRICS)
    train = [(r["step"], r["tokens"]) for r in records if r["kind"] == "train"]
    evaluations = [(r["step"], r["loss"]) for r in records if r["kind"] == "eval"]
    if not train or not evaluations:
        raise InputError(f"{workdir} holds no finished run")
    steps, tokens = np.array(train, np.float64).T
    steps = np.insert(steps, 0, 0)
    seen: np.ndarray = np.insert(np.cumsum(np.diff(steps) * tokens), 0, 0.0)
    return tuple((float(np.interp(step, steps, seen)), loss) for step, loss in evaluations)


def write_points(path: Path, points: Iterable[Measured]) -> None:
    """All points as a JSON list."""
    rows = [dataclasses.asdict(point) for point in points]
    write_atomically(path, json.dumps(rows, indent=1) + "\n")


def read_points(path: Path) -> list[Measured]:
    """The inverse of `write_points`.

    Raises:
        InputError: the file is of another version.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return [Measured(**{**row, "curve": tuple(map(tuple, row["curve"]))}) for row in rows]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} does not hold a ladder's points: {error}") from error


def column(points: Sequence[Measured], field: str) -> np.ndarray:
    """One number of each point."""
    return np.array([getattr(point, field) for point in points], np.float64)
