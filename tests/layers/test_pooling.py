"""Concat pooling against its definition, row by row."""

import jax
import jax.numpy as jnp
import numpy as np

from flaxformers_edu.layers.pooling import PooledClassifier, concat_pooling
from tests.trees import random_params

B, T, D = 4, 5, 3
RNG = np.random.default_rng(0)


def test_last_maximum_and_mean_of_the_real_ones():
    x_BTD = RNG.normal(size=(B, T, D)).astype(np.float32) - 2
    mask_BT = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 1, 1, 1], [0, 0, 0, 0, 0]])
    found = np.asarray(concat_pooling(jnp.asarray(x_BTD), jnp.asarray(mask_BT)))
    for row, mask, pooled in zip(x_BTD[:3], mask_BT, found, strict=False):
        real = row[mask == 1]
        expected = np.concatenate([real[-1], real.max(axis=0), real.mean(axis=0)])
        np.testing.assert_allclose(pooled, expected, rtol=1e-6)
    assert (found[3] == 0).all()


def test_a_row_is_judged_by_itself():
    """Norms of layers, not of batches."""
    head = PooledClassifier(6, 2, 0.4, 0.1)
    x_BD = jnp.asarray(RNG.normal(size=(B, D)), jnp.float32)
    params = random_params(head, x_BD)
    apply = jax.jit(lambda x: head.apply({"params": params}, x))
    np.testing.assert_allclose(apply(x_BD)[:1], head.apply({"params": params}, x_BD[:1]), rtol=1e-5)
