"""The mixture of layers against its equation, in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformers_edu.layers.scalar_mix import ScalarMix

RNG = np.random.default_rng(0)
LAYERS = RNG.standard_normal((3, 2, 4, 5)).astype(np.float32) * 3 + 1
MASK = np.array([[1, 1, 1, 0], [1, 1, 0, 0]])
PARAMS = {"weights": jnp.array([0.3, -1.0, 2.0]), "gamma": jnp.array(1.7)}


def mixed(layers: np.ndarray) -> np.ndarray:
    share = np.exp([0.3, -1.0, 2.0])
    return 1.7 * np.tensordot(share / share.sum(), layers, 1)


def test_it_begins_as_the_mean():
    variables = ScalarMix().init(jax.random.key(0), jnp.asarray(LAYERS))
    out = ScalarMix().apply(variables, jnp.asarray(LAYERS))
    np.testing.assert_allclose(out, LAYERS.mean(0), atol=1e-6)


@pytest.mark.parametrize("mask", [None, MASK])
def test_layers_are_normalised_over_real_tokens(mask):
    real = np.ones((2, 4), bool) if mask is None else mask.astype(bool)
    normed = np.stack([(x - x[real].mean()) / np.sqrt(x[real].var() + 1e-12) for x in LAYERS])
    given = None if mask is None else jnp.asarray(mask)
    out = ScalarMix(norm=True).apply({"params": PARAMS}, jnp.asarray(LAYERS), given)
    np.testing.assert_allclose(out, mixed(normed), atol=1e-5)


def test_without_norm_it_is_the_sum():
    out = ScalarMix().apply({"params": PARAMS}, jnp.asarray(LAYERS), jnp.asarray(MASK))
    np.testing.assert_allclose(out, mixed(LAYERS), atol=1e-5)
