"""On gradients g + noise of a known covariance, the estimates must find it.

Dims: N batches, P parts of a batch, D parameters.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformers_edu.optim import noise_scale
from flaxformers_edu.optim.noise_scale import Parts, critical_batch, estimate

GRADIENT = np.array([0.3, -0.4])  # |G|² = 0.25
DEVIATION = np.array([1.0, 2.0])  # tr(Σ) = 5


def draws(rng, weights, number):
    """The estimates from so many batches, [N]: a token's gradient is G + noise, a part has w."""
    w_P = np.array(weights)
    noise_NPD = rng.standard_normal((number, len(weights), 2))
    sums_NPD = w_P[:, None] * GRADIENT + np.sqrt(w_P)[:, None] * DEVIATION * noise_NPD
    whole_ND = sums_NPD.sum(axis=1) / w_P.sum()

    def of_part(summed_D, w):
        return Parts.of({"a": summed_D[:1], "b": summed_D[1:]}, w)

    @jax.jit
    @jax.vmap
    def of_batch(sums_PD, whole_square):
        parts = jax.vmap(of_part)(sums_PD, jnp.asarray(w_P, jnp.float32))
        total = jax.tree.map(lambda x: x.sum(axis=0), parts)
        return estimate(total, whole_square, jnp.float32(w_P.sum()))

    squares_N = np.square(whole_ND).sum(axis=1)
    found = of_batch(jnp.asarray(sums_NPD, jnp.float32), jnp.asarray(squares_N, jnp.float32))
    return {name: np.asarray(values_N) for name, values_N in found.items()}


@pytest.mark.parametrize("weights", [(20, 20, 20, 20), (5, 10, 25, 40), (40, 40, 0)], ids=str)
def test_the_estimates_have_no_bias(weights):
    found = draws(np.random.default_rng(0), weights, 1500)
    for name, truth in (("noise_trace", 5.0), ("noise_signal", 0.25)):
        values = found[name]
        error = values.std() / np.sqrt(len(values))
        assert abs(values.mean() - truth) < 4 * error
        assert error < 0.1 * truth  # or the line above would say nothing
    means = {name: jnp.mean(found[name]) for name in noise_scale.NOISE}
    assert float(critical_batch(**means)) == pytest.approx(5.0 / 0.25, rel=0.25)


def test_exact_where_there_is_no_noise():
    parts = Parts(jnp.float32(2), jnp.float32(3 * 0.25 + 7 * 0.25))
    found = estimate(parts, jnp.float32(0.25), jnp.float32(10))
    assert float(found["noise_trace"]) == pytest.approx(0.0, abs=1e-6)
    assert float(found["noise_signal"]) == pytest.approx(0.25)


def test_one_part_with_tokens_says_nothing():
    found = draws(np.random.default_rng(0), (10, 0), 1)
    assert all(np.isnan(values).all() for values in found.values())


def test_a_signal_below_the_noise_is_an_infinite_scale():
    assert float(critical_batch(jnp.float32(5.0), jnp.float32(-0.1))) == np.inf
    assert float(critical_batch(jnp.float32(5.0), jnp.float32(0.5))) == 10.0
