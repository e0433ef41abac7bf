import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformers_edu.layers.dropout import Dropout, dropout

jitted = jax.jit(dropout, static_argnums=1)
SHAPE = (64, 2048)


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.5, 0.9])
def test_rate_scaling_and_expectation(rate):
    x = jax.random.normal(jax.random.key(0), SHAPE) + 3.0
    y = np.asarray(jitted(x, rate, jax.random.key(1)))
    kept = y != 0
    sigma = np.sqrt(rate * (1 - rate) / kept.size)
    assert abs(kept.mean() - (1 - rate)) < 5 * sigma
    np.testing.assert_allclose(y[kept], np.asarray(x)[kept] / (1 - rate), rtol=1e-5)
    # The mean of y - x has expectation 0.
    assert abs((y - np.asarray(x)).mean()) < 5 * sigma / (1 - rate) * np.abs(x).max()


def test_two_halves_of_a_word_are_independent_and_so_are_neighbours():
    kept = np.asarray(jitted(jnp.ones(SHAPE), 0.5, jax.random.key(2))) != 0
    for other in (np.roll(kept, 1, axis=1), np.roll(kept, 2, axis=1), np.roll(kept, 1, axis=0)):
        agree = (kept == other).mean()
        assert abs(agree - 0.5) < 5 * np.sqrt(0.25 / kept.size)
    even, odd = kept[:, ::2], kept[:, 1::2]
    assert abs((even == odd).mean() - 0.5) < 5 * np.sqrt(0.25 / even.size)
    for half in (even, odd):
        assert abs(half.mean() - 0.5) < 5 * np.sqrt(0.25 / half.size)


@pytest.mark.parametrize("shape", [(1,), (3, 5), (2, 3, 7)])
def test_odd_widths(shape):
    keys = jax.random.split(jax.random.key(0), 400)
    y = jax.jit(jax.vmap(functools.partial(dropout, jnp.ones(shape), 0.25)))(keys)
    assert y.shape == (400, *shape)
    rate_of_each_place = (np.asarray(y) == 0).mean(axis=0)
    assert (np.abs(rate_of_each_place - 0.25) < 5 * np.sqrt(0.25 * 0.75 / 400)).all()


def test_keys():
    x, one, other = jnp.ones((4, 32)), jax.random.key(0), jax.random.key(1)
    np.testing.assert_array_equal(jitted(x, 0.5, one), jitted(x, 0.5, one))
    assert (jitted(x, 0.5, one) != jitted(x, 0.5, other)).any()
    np.testing.assert_array_equal(jitted(x, 0.5, None), x)
    np.testing.assert_array_equal(jitted(x, 0.0, one), x)


@pytest.mark.parametrize("rate", [1.0, 0.9999999])
def test_everything_dropped(rate):
    assert not jitted(jnp.ones((2, 8)), rate, jax.random.key(0)).any()


def test_dtype_is_kept():
    y = jitted(jnp.ones((2, 8), jnp.bfloat16), 0.5, jax.random.key(0))
    assert y.dtype == jnp.bfloat16
    assert set(np.asarray(y, np.float32).ravel()) == {0.0, 2.0}


def test_module():
    x, key = jnp.ones((4, 32)), jax.random.key(0)
    np.testing.assert_array_equal(Dropout(0.5).apply({}, x, deterministic=True), x)
    y = Dropout(0.5).apply({}, x, deterministic=False, rngs={"dropout": key})
    assert 0 < (np.asarray(y) == 0).sum() < y.size
    np.testing.assert_array_equal(Dropout(0.0).apply({}, x, deterministic=False), x)
