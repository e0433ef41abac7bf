"""Scaling laws as curves through measured losses: numpy and scipy, nothing else.

All are fitted to logarithms, by analytic gradients, with the constants taken at the middle of the
data: an exponent and its constant are strongly correlated otherwise, and the search stops early.

Dims: P points, S starts of a search, V variables of a search. n = log N, d = log D.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from flaxformers_edu.errors import InputError

Numbers = np.ndarray | Sequence[float]

HUBER_DELTA = 1e-3
"""Of log loss (Hoffmann et al. 2022, section 3.3): beyond it a point pulls by its sign alone."""
STARTS_KEPT = 24
"""Of a grid of starts the best are followed to the end; the objective is cheap on the others."""


@dataclass(frozen=True)
class PowerLaw:
    """Y = coefficient · x^exponent."""

    coefficient: float
    exponent: float

    def __call__(self, x: Numbers) -> np.ndarray:
        return self.coefficient * np.asarray(x, np.float64) ** self.exponent

    @property
    def constant(self) -> float:
        """Kaplan's x_c in y = (x_c / x)^-exponent."""
        return float(np.exp(-np.log(self.coefficient) / self.exponent))


def fit_power_law(x_P: Numbers, y_P: Numbers) -> PowerLaw:
    """The straight line through (log x, log y) by least squares.

    With losses for y these are L(N), L(D), L(C) of Kaplan et al. 2020 (eq. 1.1 to 1.3), whose
    alpha is minus the exponent; with optimal sizes for y, the laws of Hoffmann et al. 2022.

    Raises:
        InputError: fewer than two different x.
    """
    x_P, y_P = _positive(x_P, "x"), _positive(y_P, "y")
    if len(np.unique(x_P)) < 2:
        raise InputError("a power law needs at least 2 different x")
    middle = np.log(x_P).mean()
    exponent, height = np.polyfit(np.log(x_P) - middle, np.log(y_P), 1)
    return PowerLaw(float(np.exp(height - exponent * middle)), float(exponent))


@dataclass(frozen=True)
class KaplanLaw:
    """L(N, D) = [(N_c / N)^(alpha_n / alpha_d) + D_c / D]^alpha_d (Kaplan et al. 2020, eq. 1.5)."""

    alpha_n: float
    alpha_d: float
    n_c: float
    d_c: float

    def __call__(self, n_params: Numbers, n_tokens: Numbers) -> np.ndarray:
        N, D = np.asarray(n_params, np.float64), np.asarray(n_tokens, np.float64)
        return ((self.n_c / N) ** (self.alpha_n / self.alpha_d) + self.d_c / D) ** self.alpha_d


def fit_kaplan(
    params_P: Numbers, tokens_P: Numbers, loss_P: Numbers, *, near: KaplanLaw | None = None
) -> KaplanLaw:
    """Kaplan's L(N, D), by the Huber loss of log losses.

    log L = p · LSE(u - q n, v - d), with p = alpha_d, q = alpha_n / alpha_d, v = log D_c and
    u = q log N_c. Positive p and q are searched for by their logarithms.

    Args:
        params_P: parameters N of each point, without embeddings.
        tokens_P: training tokens D.
        loss_P: final losses.
        near: a law to begin at instead of a grid, for resamples of data that it was fitted to.
    """
    n_P, d_P, log_loss_P = _logs(params_P, tokens_P, loss_P)
    n_mid, d_mid = n_P.mean(), d_P.mean()
    x_P, y_P = n_P - n_mid, d_P - d_mid

    def predict(variables_V: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        log_p, log_q, u, v = variables_V
        p, q = np.exp(log_p), np.exp(log_q)
        terms_2P = np.stack([u - q * x_P, v - y_P])
        total_P = _logsumexp(terms_2P)
        of_n_P, of_d_P = np.exp(terms_2P - total_P)
        gradient_VP = np.stack([p * total_P, -p * of_n_P * q * x_P, p * of_n_P, p * of_d_P])
        return p * total_P, gradient_VP

    if near is None:
        heights = (0.0, 2.0, 5.0, 10.0, 20.0, 40.0)
        exponents = np.log([0.03, 0.1, 0.3, 1.0])
        starts_SV = np.array(list(product(exponents, np.log([0.3, 1.0, 3.0]), heights, heights)))
    else:
        q = near.alpha_n / near.alpha_d
        u, v = q * (np.log(near.n_c) - n_mid), np.log(near.d_c) - d_mid
        starts_SV = np.array([[np.log(near.alpha_d), np.log(q), u, v]])
    bounds = [(-7.0, 2.0), (-4.0, 4.0), (None, None), (None, None)]
    log_p, log_q, u, v = _search(predict, log_loss_P, starts_SV, bounds)
    p, q = np.exp(log_p), np.exp(log_q)
    return KaplanLaw(float(p * q), float(p), float(np.exp(u / q + n_mid)), float(np.exp(v + d_mid)))


@dataclass(frozen=True)
class ChinchillaLaw:
    """L(N, D) = E + A / N^alpha + B / D^beta (Hoffmann et al. 2022, eq. 2)."""

    E: float
    A: float
    B: float
    alpha: float
    beta: float

    def __call__(self, n_params: Numbers, n_tokens: Numbers) -> np.ndarray:
        N, D = np.asarray(n_params, np.float64), np.asarray(n_tokens, np.float64)
        return self.E + self.A / N**self.alpha + self.B / D**self.beta

    def optimum(self, flops: Numbers) -> tuple[np.ndarray, np.ndarray]:
        """(N, D) of the least loss where C = 6 N D (eq. 4)."""
        a = self.beta / (self.alpha + self.beta)
        ratio = (self.alpha * self.A / (self.beta * self.B)) ** (1 / (self.alpha + self.beta))
        product_P = np.asarray(flops, np.float64) / 6
        return ratio * product_P**a, product_P ** (1 - a) / ratio

    @property
    def exponents(self) -> tuple[float, float]:
        """(a, b) of N_opt ~ C^a and D_opt ~ C^b."""
        total = self.alpha + self.beta
        return self.beta / total, self.alpha / total


def fit_chinchilla(
    params_P: Numbers, tokens_P: Numbers, loss_P: Numbers, *, near: ChinchillaLaw | None = None
) -> ChinchillaLaw:
    """Chinchilla's approach 3: the Huber loss of log losses by L-BFGS from a grid of starts.

    log L = LSE(a - alpha n, b - beta d, e), and the grid is that of section 3.3. What Besiroglu et
    al. 2024 found wrong in the original is minded: the objective is a sum, in units that the
    tolerances of the search can resolve (a mean of about 1e-5 looks converged at once), and no
    number is rounded.

    Args:
        params_P: parameters N of each point.
        tokens_P: training tokens D.
        loss_P: final losses.
        near: a law to begin at instead of the grid, for resamples of data that it was fitted to.
    """
    n_P, d_P, log_loss_P = _logs(params_P, tokens_P, loss_P)
    n_mid, d_mid = n_P.mean(), d_P.mean()
    x_P, y_P = n_P - n_mid, d_P - d_mid

    def predict(variables_V: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        a, b, e, alpha, beta = variables_V
        terms_3P = np.stack([a - alpha * x_P, b - beta * y_P, np.full_like(x_P, e)])
        total_P = _logsumexp(terms_3P)
        of_n_P, of_d_P, of_e_P = np.exp(terms_3P - total_P)
        return total_P, np.stack([of_n_P, of_d_P, of_e_P, -of_n_P * x_P, -of_d_P * y_P])

    if near is None:
        heights, exponents = (0.0, 5.0, 10.0, 15.0, 20.0, 25.0), (0.0, 0.5, 1.0, 1.5, 2.0)
        grid = product(heights, heights, (-1.0, -0.5, 0.0, 0.5, 1.0), exponents, exponents)
        starts_SV = np.array(list(grid))
    else:
        law = [np.log(near.A), np.log(near.B), np.log(near.E), near.alpha, near.beta]
        starts_SV = np.array([law, [*law[:3], 0.5, 0.5]])
    starts_SV[:, 0] -= starts_SV[:, 3] * n_mid
    starts_SV[:, 1] -= starts_SV[:, 4] * d_mid
    a, b, e, alpha, beta = _search(predict, log_loss_P, starts_SV)
    A, B = np.exp(a + alpha * n_mid), np.exp(b + beta * d_mid)
    return ChinchillaLaw(float(np.exp(e)), float(A), float(B), float(alpha), float(beta))


def _search(
    predict: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    log_loss_P: np.ndarray,
    starts_SV: np.ndarray,
    bounds: Sequence[tuple[float | None, float | None]] | None = None,
) -> np.ndarray:
    """The variables of the least Huber loss, from the best of the starts."""

    def objective(variables_V: np.ndarray) -> tuple[float, np.ndarray]:
        predicted_P, gradient_VP = predict(variables_V)
        # In units of delta: the search's tolerances are absolute for values below one.
        r_P = (predicted_P - log_loss_P) / HUBER_DELTA
        pull_P = np.clip(r_P, -1, 1)
        value = float(np.sum(pull_P * (r_P - pull_P / 2)))
        return value, gradient_VP @ pull_P / HUBER_DELTA

    values_S = [objective(start_V)[0] for start_V in starts_SV]
    chosen = starts_SV[np.argsort(values_S, kind="stable")[:STARTS_KEPT]]
    options = {"maxiter": 1000, "maxfun": 5000, "ftol": 1e-15, "gtol": 1e-9, "maxcor": 20}
    search: Any = {"method": "L-BFGS-B", "jac": True, "bounds": bounds, "options": options}
    # Matrices of some 20 rows: on a busy machine threads wait for each other ten times as long.
    with threadpool_limits(1, user_api="blas"):
        found = [minimize(objective, start_V, **search) for start_V in chosen]
    return min(found, key=lambda result: result.fun).x


def _logsumexp(terms: np.ndarray) -> np.ndarray:
    """Over the first axis. That of scipy takes ten times as long on so few numbers."""
    highest = terms.max(axis=0)
    return highest + np.log(np.exp(terms - highest).sum(axis=0))


def _positive(values_P: Numbers, name: str) -> np.ndarray:
    array: np.ndarray = np.asarray(values_P, np.float64)
    if not (np.isfinite(array) & (array > 0)).all():
        raise InputError(f"a law cannot be fitted: {name} must be finite and above 0")
    return array


def _logs(*columns: Numbers) -> list[np.ndarray]:
    logs = [np.log(_positive(c, name)) for c, name in zip(columns, ("N", "D", "loss"), strict=True)]
    if len({len(column) for column in logs}) != 1 or len(logs[0]) < 5:
        raise InputError(f"a law of N and D needs at least 5 points, got {len(logs[0])}")
    return logs
