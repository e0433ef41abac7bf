import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformers_edu.layers.norms import LayerNorm, RMSNorm


def expected(x, kind, epsilon, scale, bias):
    x = np.asarray(x, np.float64)
    if kind is RMSNorm:
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon) * scale
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + epsilon) * scale + bias


def run(kind, x, epsilon=1e-3, **fields):
    generator = np.random.default_rng(3)
    scale, bias = generator.normal(size=(2, x.shape[-1])).astype(np.float32)
    params = {"scale": jnp.asarray(scale)}
    if kind is LayerNorm:
        params["bias"] = jnp.asarray(bias)
    y = kind(epsilon=epsilon, **fields).apply({"params": params}, x)
    return y, expected(x, kind, epsilon, scale, bias)


@pytest.mark.parametrize("kind", [LayerNorm, RMSNorm])
def test_norm_is_the_formula(kind):
    x = 0.05 * jax.random.normal(jax.random.key(0), (2, 3, 16))  # small: epsilon shows
    y, wanted = run(kind, x)
    np.testing.assert_allclose(y, wanted, atol=1e-5)


def test_variance_survives_a_large_mean():
    """E[x²] - E[x]² in float32 would leave nothing of a variance of 1 beside a mean of 3000."""
    x = jax.random.normal(jax.random.key(0), (2, 64)) + 3e3
    y, wanted = run(LayerNorm, x)
    np.testing.assert_allclose(y, wanted, atol=5e-3)


@pytest.mark.parametrize("kind", [LayerNorm, RMSNorm])
def test_statistics_are_float32_under_bfloat16(kind):
    x = (jax.random.normal(jax.random.key(0), (2, 512)) + 20).astype(jnp.bfloat16)
    y, wanted = run(kind, x)
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(y.astype(jnp.float32), wanted, rtol=1e-2, atol=1e-2)
    x32 = x.astype(jnp.float32)
    assert run(kind, x32, dtype=jnp.bfloat16)[0].dtype == jnp.bfloat16
    assert run(kind, x, dtype=jnp.float32)[0].dtype == jnp.float32


@pytest.mark.parametrize(("kind", "names"), [(LayerNorm, {"scale", "bias"}), (RMSNorm, {"scale"})])
def test_parameters(kind, names):
    boxed = kind().init(jax.random.key(0), jnp.ones((1, 4)))["params"]
    assert set(boxed) == names
    for name, leaf in boxed.items():
        assert leaf.names == ("norm",)
        np.testing.assert_array_equal(leaf.value, np.ones(4) if name == "scale" else np.zeros(4))
