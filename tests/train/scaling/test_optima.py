"""The best size for a budget, from curves and from profiles whose answer is known."""

import numpy as np
import pytest

from flaxformers_edu.errors import InputError
from train.scaling.fits import ChinchillaLaw
from train.scaling.optima import Curve, envelope, isoflop_profiles, optima_of

LAW = ChinchillaLaw(E=1.1, A=30.0, B=200.0, alpha=0.35, beta=0.4)


def profiles(budgets, sizes):
    n, c = (x.ravel() for x in np.meshgrid(sizes, budgets))
    d = c / (6 * n)
    return isoflop_profiles(n, d, LAW(n, d), c, c)


def test_the_parabolas_minimum_is_the_laws():
    budgets = np.geomspace(1e10, 1e12, 4)
    best = LAW.optimum(budgets)[0]
    found = [p for b, n in zip(budgets, best, strict=True) for p in profiles([b], n * SPREAD)]
    assert [p.params for p in found] == pytest.approx(best, rel=0.03)
    assert [p.tokens for p in found] == pytest.approx(budgets / (6 * best), rel=0.03)
    assert optima_of(found).params_law.exponent == pytest.approx(LAW.exponents[0], abs=0.01)
    assert optima_of(found).tokens_law.exponent == pytest.approx(LAW.exponents[1], abs=0.01)


SPREAD = np.array([0.5, 0.7, 1.0, 1.4, 2.0])


def test_a_profile_that_does_not_enclose_its_minimum_is_left_out():
    best = float(LAW.optimum(1e11)[0])
    assert profiles([1e11], best * SPREAD)
    assert not profiles([1e11], 10 * best * SPREAD)
    assert not profiles([1e11], best * np.array([0.7, 1.4]))


def test_points_without_a_budget_belong_to_no_profile():
    n = 1e5 * SPREAD
    assert not isoflop_profiles(n, n, LAW(n, n), n, np.zeros(5))


def test_laws_of_compute_need_two_budgets():
    with pytest.raises(InputError, match="2 budgets, got 1"):
        optima_of(profiles([1e11], float(LAW.optimum(1e11)[0]) * SPREAD))


def curves(sizes):
    tokens = np.geomspace(1e4, 1e8, 100)
    return [Curve(n, 6 * n * tokens, tokens, LAW(n, tokens)) for n in sizes]


def test_the_envelope_follows_the_best_size():
    found = envelope(curves(np.geomspace(1e3, 1e6, 40)))
    best_n, best_d = LAW.optimum(found.flops_C)
    assert np.log(found.params_C / best_n) == pytest.approx(0, abs=0.15)
    assert found.params_law.exponent == pytest.approx(LAW.exponents[0], abs=0.03)
    assert found.tokens_law.exponent == pytest.approx(LAW.exponents[1], abs=0.03)
    assert found.loss_C == pytest.approx(LAW(best_n, best_d), rel=1e-3)


def test_the_ends_of_the_ladder_are_no_optimum():
    sizes = np.geomspace(1e3, 1e6, 6)
    found = envelope(curves(sizes))
    assert set(found.params_C) <= set(sizes[1:-1])
    with pytest.raises(InputError, match="at least 4 sizes"):
        envelope(curves(sizes[:2]))
