"""On gradients g + noise of a known covariance, the estimates must find it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformers_edu.optim import noise_scale
from flaxformers_edu.optim.noise_scale import Parts, critical_batch, estimate

GRADIENT = np.array([0.3, -0.4])  # |G|² = 0.25
DEVIATION = np.array([1.0, 2.0])  # tr(Σ) = 5


def draw(rng, weights):
    """The estimates from one batch: a token's gradient is G + noise, part j has weights[j]."""
    sums = [w * GRADIENT + np.sqrt(w) * DEVIATION * rng.standard_normal(2) for w in weights]
    total, weight = Parts(jnp.zeros(()), jnp.zeros(())), jnp.float32(sum(weights))
    for summed, w in zip(sums, weights, strict=True):
        part = Parts.of(
            {"a": jnp.asarray(summed[:1]), "b": jnp.asarray(summed[1:])}, jnp.float32(w)
        )
        total = jax.tree.map(jnp.add, total, part)
    whole = np.sum(sums, axis=0) / sum(weights)
    return estimate(total, jnp.float32(whole @ whole), weight)


@pytest.mark.parametrize(
    "weights",
    [
        pytest.param((20, 20, 20, 20), marks=pytest.mark.slow),
        (5, 10, 25, 40),
        pytest.param((40, 40, 0), marks=pytest.mark.slow),
    ],
)
def test_the_estimates_have_no_bias(weights):
    rng = np.random.default_rng(0)
    found = [draw(rng, weights) for _ in range(1500)]
    for name, truth in (("noise_trace", 5.0), ("noise_signal", 0.25)):
        values = np.array([float(f[name]) for f in found])
        error = values.std() / np.sqrt(len(values))
        assert abs(values.mean() - truth) < 4 * error
        assert error < 0.1 * truth  # or the line above would say nothing
    means = {name: jnp.mean(jnp.stack([f[name] for f in found])) for name in noise_scale.NOISE}
    assert float(critical_batch(**means)) == pytest.approx(5.0 / 0.25, rel=0.25)


def test_exact_where_there_is_no_noise():
    parts = Parts(jnp.float32(2), jnp.float32(3 * 0.25 + 7 * 0.25))
    found = estimate(parts, jnp.float32(0.25), jnp.float32(10))
    assert float(found["noise_trace"]) == pytest.approx(0.0, abs=1e-6)
    assert float(found["noise_signal"]) == pytest.approx(0.25)


def test_one_part_with_tokens_says_nothing():
    found = draw(np.random.default_rng(0), (10, 0))
    assert all(np.isnan(float(value)) for value in found.values())


def test_a_signal_below_the_noise_is_an_infinite_scale():
    assert float(critical_batch(jnp.float32(5.0), jnp.float32(-0.1))) == np.inf
    assert float(critical_batch(jnp.float32(5.0), jnp.float32(0.5))) == 10.0
