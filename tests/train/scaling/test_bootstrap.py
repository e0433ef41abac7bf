import numpy as np
import pytest

from flaxformers_edu.errors import InputError
from train.scaling.bootstrap import HeldOut, intervals, resample

POINTS = np.random.default_rng(0).normal(5.0, 1.0, 30).tolist()


def mean(drawn):
    return {"mean": float(np.mean(drawn))}


def test_the_band_of_a_mean_is_that_of_its_standard_error():
    found = intervals(POINTS, mean, resamples=2000, seed=0)["mean"]
    error = np.std(POINTS) / len(POINTS) ** 0.5
    assert found.value == pytest.approx(np.mean(POINTS))
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_the_seed_decides():
    here, again, other = (intervals(POINTS, mean, resamples=50, seed=s)["mean"] for s in (1, 1, 2))
    assert here == again
    assert here != other


def test_draws_that_cannot_be_fitted_are_drawn_again():
    def two_different(drawn):
        if len(set(drawn)) < 2:
            raise InputError("all the same")
        return np.array(max(drawn))

    assert resample([1, 2], two_different, resamples=100, seed=0).tolist() == [2] * 100

    def never(drawn):
        raise InputError("no")

    with pytest.raises(InputError, match="only 0 of 1000 draws"):
        resample([1, 2], never, resamples=100, seed=0)


def test_errors_are_relative_to_what_was_measured():
    held = HeldOut(("a", "b"), np.array([2.0, 4.0]), np.array([2.2, 3.8]), 4.0)
    assert held.errors_P == pytest.approx([0.1, -0.05])
    assert held.mean_error == pytest.approx(0.075)
