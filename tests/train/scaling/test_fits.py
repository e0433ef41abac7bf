"""Laws recovered from losses that were made by them."""

import numpy as np
import pytest

from flaxformers_edu.errors import InputError
from train.scaling.bootstrap import intervals
from train.scaling.fits import (
    ChinchillaLaw,
    KaplanLaw,
    PowerLaw,
    fit_chinchilla,
    fit_kaplan,
    fit_power_law,
)

LAW = ChinchillaLaw(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28)  # Hoffmann et al. 2022, eq. 10
SMALL = ChinchillaLaw(E=1.1, A=30.0, B=200.0, alpha=0.35, beta=0.4)
KAPLAN = KaplanLaw(alpha_n=0.076, alpha_d=0.103, n_c=6.4e13, d_c=1.8e13)  # table 2 of the paper


def grid(sizes=(1e7, 1e10), budgets=(1e18, 1e21)):
    """N, D of IsoFLOP profiles."""
    n, c = np.meshgrid(np.geomspace(*sizes, 6), np.geomspace(*budgets, 4))
    return n.ravel(), (c / (6 * n)).ravel()


@pytest.mark.parametrize(
    ("law", "points"), [(LAW, grid()), (SMALL, grid((5e3, 1e6), (2e10, 2e12)))]
)
def test_chinchillas_law_is_recovered(law, points):
    found = fit_chinchilla(*points, law(*points))
    for name, value in vars(law).items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-4), name


def test_kaplans_law_is_recovered():
    points = grid()
    found = fit_kaplan(*points, KAPLAN(*points))
    assert vars(found) == pytest.approx(vars(KAPLAN), rel=1e-3)


def test_a_power_law_is_recovered_with_its_constant():
    n = np.geomspace(1e3, 1e6, 5)
    found = fit_power_law(n, (8.8e13 / n) ** 0.076)
    assert found.exponent == pytest.approx(-0.076, rel=1e-9)
    assert found.constant == pytest.approx(8.8e13, rel=1e-6)
    assert found(n) == pytest.approx((8.8e13 / n) ** 0.076)


def test_an_outlier_does_not_carry_the_fit_away():
    """What the Huber loss is for: least squares would move by far more."""
    n, d = grid()
    loss = LAW(n, d)
    loss[3] *= 1.2
    found = fit_chinchilla(n, d, loss)
    assert found.alpha == pytest.approx(LAW.alpha, abs=0.02)
    assert found.beta == pytest.approx(LAW.beta, abs=0.02)


def test_units_of_parameters_and_tokens_do_not_matter():
    n, d = grid()
    loss = LAW(n, d) * np.exp(np.random.default_rng(0).normal(0, 0.003, len(n)))
    here, there = fit_chinchilla(n, d, loss), fit_chinchilla(n / 1e3, d / 1e3, loss)
    assert there.alpha == pytest.approx(here.alpha, rel=1e-3)
    expected = {"A": here.A / 1e3**here.alpha, "E": here.E}
    assert pytest.approx(expected, rel=1e-2) == {"A": there.A, "E": there.E}


def test_the_order_of_points_does_not_matter():
    n, d = grid()
    loss = LAW(n, d) * np.exp(np.random.default_rng(1).normal(0, 0.003, len(n)))
    order = np.random.default_rng(2).permutation(len(n))
    here, there = fit_chinchilla(n, d, loss), fit_chinchilla(n[order], d[order], loss[order])
    assert vars(there) == pytest.approx(vars(here), rel=1e-3)


def test_a_fit_from_a_law_nearby_finds_what_the_grid_finds():
    n, d = grid()
    loss = LAW(n, d) * np.exp(np.random.default_rng(3).normal(0, 0.003, len(n)))
    from_grid = fit_chinchilla(n, d, loss)
    assert vars(fit_chinchilla(n, d, loss, near=LAW)) == pytest.approx(vars(from_grid), rel=1e-3)
    loss = KAPLAN(n, d) * np.exp(np.random.default_rng(3).normal(0, 0.003, len(n)))
    near = fit_kaplan(n, d, loss, near=KAPLAN)
    assert vars(near) == pytest.approx(vars(fit_kaplan(n, d, loss)), rel=1e-2)


def test_the_optimum_is_where_the_loss_is_least():
    flops = 1e20
    n_best, d_best = LAW.optimum(flops)
    assert n_best * d_best * 6 == pytest.approx(flops)
    n = n_best * np.geomspace(0.5, 2, 201)
    assert n[LAW(n, flops / (6 * n)).argmin()] == pytest.approx(n_best, rel=0.01)
    a, b = LAW.exponents
    assert LAW.optimum(100 * flops)[0] / n_best == pytest.approx(100**a)
    assert a + b == pytest.approx(1)


def test_bands_hold_the_truth():
    """Of ten noisy ladders, the 95 % band has the true exponent in nearly all."""
    n = np.geomspace(1e3, 1e6, 12)
    held = 0
    for seed in range(10):
        noise = np.exp(np.random.default_rng(seed).normal(0, 0.02, len(n)))
        points = list(zip(n, PowerLaw(20.0, -0.1)(n) * noise, strict=True))

        def exponent(drawn):
            law = fit_power_law(*zip(*drawn, strict=True))
            return {"exponent": law.exponent}

        found = intervals(points, exponent, resamples=200, seed=seed)["exponent"]
        assert found.low < found.value < found.high
        held += found.low <= -0.1 <= found.high
    assert held >= 8


@pytest.mark.parametrize("loss", [0.0, -1.0, np.nan, np.inf])
def test_losses_that_no_law_has_are_refused(loss):
    n, d = grid()
    losses = LAW(n, d)
    losses[0] = loss
    with pytest.raises(InputError, match="loss must be finite and above 0"):
        fit_chinchilla(n, d, losses)


def test_too_few_points_are_refused():
    with pytest.raises(InputError, match="at least 5 points, got 3"):
        fit_chinchilla([1, 2, 3], [1, 2, 3], [3, 2, 1])
    with pytest.raises(InputError, match="at least 2 different x"):
        fit_power_law([5, 5], [1, 2])
