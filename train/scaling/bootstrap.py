"""How sure a fit is: the bootstrap over points, and extrapolation to points that were held out.

Dims: P points, R resamples, X places at which a band is drawn.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from flaxformers_edu.errors import InputError

T = TypeVar("T")
COVERAGE = 0.95


@dataclass(frozen=True)
class Interval:
    """An estimate, and the range in which `COVERAGE` of the resamples' estimates lie."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}]"


def resample(
    points: Sequence[T], fit: Callable[[Sequence[T]], np.ndarray], *, resamples: int, seed: int
) -> np.ndarray:
    """Results of `fit` on `resamples` draws of as many points, with replacement: [R, ...].

    A draw to which nothing can be fitted (all of one size, say) is drawn again, up to ten times as
    often as there are resamples.

    Raises:
        InputError: that was not enough.
    """
    rng = np.random.default_rng(seed)
    found: list[np.ndarray] = []
    for _ in range(10 * resamples):
        if len(found) == resamples:
            break
        drawn = [points[i] for i in rng.integers(len(points), size=len(points))]
        try:
            found.append(np.asarray(fit(drawn), np.float64))
        except InputError:
            continue
    if len(found) < resamples:
        raise InputError(f"only {len(found)} of {10 * resamples} draws of the points can be fitted")
    return np.stack(found)


def intervals(
    points: Sequence[T],
    fit: Callable[[Sequence[T]], Mapping[str, float]],
    *,
    resamples: int,
    seed: int,
) -> dict[str, Interval]:
    """What `fit` finds in all points, by name, each with its percentile interval."""
    values = fit(points)
    names = list(values)

    def as_array(drawn: Sequence[T]) -> np.ndarray:
        found = fit(drawn)
        return np.array([found[name] for name in names])

    low, high = band(resample(points, as_array, resamples=resamples, seed=seed))
    return {
        name: Interval(float(values[name]), float(low[i]), float(high[i]))
        for i, name in enumerate(names)
    }


def band(found_RX: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lower and the upper end of the middle `COVERAGE` of the resamples, place by place."""
    tail = (1 - COVERAGE) / 2
    low, high = np.quantile(found_RX, [tail, 1 - tail], axis=0)
    return low, high


@dataclass(frozen=True)
class HeldOut:
    """Predictions for the points of the most compute, by a law that has not seen them."""

    names: tuple[str, ...]
    measured_P: np.ndarray
    predicted_P: np.ndarray
    factor: float
    """The largest compute, over the largest that the law has seen."""

    @property
    def errors_P(self) -> np.ndarray:
        """(predicted - measured) / measured."""
        return self.predicted_P / self.measured_P - 1

    @property
    def mean_error(self) -> float:
        """Mean of the errors' sizes."""
        return float(np.abs(self.errors_P).mean())
