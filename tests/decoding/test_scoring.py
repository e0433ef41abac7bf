"""Length normalisation, against numbers worked out by hand."""

import jax.numpy as jnp
import numpy as np

from flaxformers_edu.decoding import gnmt, huggingface


def test_huggingface_is_a_power_of_the_length():
    lengths = jnp.array([1, 4])
    np.testing.assert_allclose(huggingface(lengths, 0.0), [1.0, 1.0])
    np.testing.assert_allclose(huggingface(lengths, 0.5), [1.0, 2.0], rtol=1e-6)
    np.testing.assert_allclose(huggingface(lengths, -1.0), [1.0, 0.25], rtol=1e-6)


def test_gnmt_starts_at_one_and_grows_slower():
    np.testing.assert_allclose(gnmt(jnp.array([1, 7, 13]), 1.0), [1.0, 2.0, 3.0], rtol=1e-6)
    np.testing.assert_allclose(gnmt(jnp.array([19]), 0.5), [2.0], rtol=1e-6)
