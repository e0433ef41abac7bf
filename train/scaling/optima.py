"""Which size is best for a compute budget, found without a law of the loss.

Chinchilla's approaches 1 and 2 (Hoffmann et al. 2022, sections 3.1 and 3.2).

Dims: P points, C compute values, K measurements along a curve.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flaxformers_edu.errors import InputError
from train.scaling.fits import Numbers, PowerLaw, fit_power_law


@dataclass(frozen=True)
class Curve:
    """The loss of one run as its compute grows."""

    params: float
    flops_K: np.ndarray
    """FLOPs spent, ascending."""
    tokens_K: np.ndarray
    """Tokens seen."""
    loss_K: np.ndarray


@dataclass(frozen=True)
class Optima:
    """The best size at each of several budgets, and the laws through them."""

    flops_C: np.ndarray
    params_C: np.ndarray
    tokens_C: np.ndarray
    loss_C: np.ndarray

    @property
    def params_law(self) -> PowerLaw:
        """N_opt ~ C^a."""
        return fit_power_law(self.flops_C, self.params_C)

    @property
    def tokens_law(self) -> PowerLaw:
        """D_opt ~ C^b."""
        return fit_power_law(self.flops_C, self.tokens_C)

    @property
    def loss_law(self) -> PowerLaw:
        """L(C) on the frontier (Kaplan et al. 2020, eq. 1.3)."""
        return fit_power_law(self.flops_C, self.loss_C)


def envelope(curves: Sequence[Curve], *, samples: int = 1500) -> Optima:
    """Approach 1: at each of `samples` compute values, the curve that is lowest there.

    Values at which the smallest or the largest size of the ladder wins are left out: the best size
    may lie beyond the ladder there.

    Raises:
        InputError: nothing is left.
    """
    grid_C = np.geomspace(
        min(curve.flops_K[0] for curve in curves),
        max(curve.flops_K[-1] for curve in curves),
        samples,
    )
    loss_RC = np.stack(
        [
            np.interp(
                np.log(grid_C), np.log(curve.flops_K), curve.loss_K, left=np.inf, right=np.inf
            )
            for curve in curves
        ]
    )
    best_C = loss_RC.argmin(axis=0)
    params_R = np.array([curve.params for curve in curves])
    params_C, loss_C = params_R[best_C], loss_RC.min(axis=0)
    inside_C = (params_C > params_R.min()) & (params_C < params_R.max()) & np.isfinite(loss_C)
    if len(np.unique(params_C[inside_C])) < 2:
        raise InputError(
            "the envelope needs at least 4 sizes, of which 2 in the middle are best somewhere"
        )
    tokens_C = np.array(
        [
            np.interp(flops, curves[best].flops_K, curves[best].tokens_K)
            for flops, best in zip(grid_C, best_C, strict=True)
        ]
    )
    return Optima(*(x_C[inside_C] for x_C in (grid_C, params_C, tokens_C, loss_C)))


@dataclass(frozen=True)
class Profile:
    """Losses at one budget and the parabola through them, in log N."""

    flops: float
    params_P: np.ndarray
    loss_P: np.ndarray
    coefficients: np.ndarray
    """Of log N², log N, 1."""
    params: float
    """N at the minimum."""
    tokens: float
    """D at the minimum of the parabola in log D."""
    loss: float


def isoflop_profiles(
    params_P: Numbers, tokens_P: Numbers, loss_P: Numbers, flops_P: Numbers, budget_P: Numbers
) -> list[Profile]:
    """Approach 2: a parabola in log N through the losses at each budget.

    `budget_P` says which points belong together (0: none), `flops_P` what they really took.

    Budgets with fewer than 3 sizes, or whose minimum is not between the smallest and the largest
    of them, are left out: they tell on which side the best size lies, and not where.
    """
    columns = (params_P, tokens_P, loss_P, flops_P, budget_P)
    N_P, D_P, L_P, C_P, group_P = (np.asarray(x, np.float64) for x in columns)
    profiles = []
    for group in np.unique(group_P[group_P > 0]):
        of = group_P == group
        if len(np.unique(N_P[of])) < 3:
            continue
        by_n, by_d = (np.polyfit(np.log(x_P[of]), L_P[of], 2) for x_P in (N_P, D_P))
        params, tokens = (_vertex(c, x_P[of]) for c, x_P in ((by_n, N_P), (by_d, D_P)))
        if params is None or tokens is None:
            continue
        loss = float(np.polyval(by_n, np.log(params)))
        flops = float(np.exp(np.log(C_P[of]).mean()))
        profiles.append(Profile(flops, N_P[of], L_P[of], by_n, params, tokens, loss))
    return profiles


def optima_of(profiles: Sequence[Profile]) -> Optima:
    """The minima of the profiles.

    Raises:
        InputError: fewer than two of them.
    """
    if len(profiles) < 2:
        raise InputError(f"laws of compute need the minima of 2 budgets, got {len(profiles)}")
    return Optima(
        flops_C=np.array([profile.flops for profile in profiles]),
        params_C=np.array([profile.params for profile in profiles]),
        tokens_C=np.array([profile.tokens for profile in profiles]),
        loss_C=np.array([profile.loss for profile in profiles]),
    )


def _vertex(coefficients: np.ndarray, x_P: np.ndarray) -> float | None:
    """Where a parabola in log x is least; None where that is not inside the data."""
    if coefficients[0] <= 0:
        return None
    log_x = -coefficients[1] / (2 * coefficients[0])
    inside = np.log(x_P.min()) <= log_x <= np.log(x_P.max())
    return float(np.exp(log_x)) if inside else None
