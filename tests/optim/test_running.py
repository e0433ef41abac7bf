import jax.numpy as jnp
import numpy as np
import pytest

from flaxformers_edu.optim.running import RunningMean


def means_of(values, window, where=None):
    mean = RunningMean.of("x")
    found = []
    for i, value in enumerate(values):
        included = jnp.asarray(True if where is None else where[i])
        mean = mean.add({"x": jnp.float32(value)}, window, where=included)
        found.append(float(mean.mean["x"]))
    return found, mean


def test_a_plain_mean_within_the_window():
    values = [3.0, 1.0, 8.0, 0.0]
    found, mean = means_of(values, window=4)
    assert found == pytest.approx([np.mean(values[: n + 1]) for n in range(4)])
    assert int(mean.count) == 4


def test_then_an_exponential_one():
    (*_, before, after), _ = means_of([2.0, 4.0, 10.0], window=2)
    assert before == 3.0
    assert after == pytest.approx(3.0 + (10.0 - 3.0) / 2)


def test_values_that_are_left_out_leave_no_trace():
    found, mean = means_of([2.0, float("nan"), 4.0], 10, where=[True, False, True])
    assert found == [2.0, 2.0, 3.0]
    assert int(mean.count) == 2
