import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformers_edu.errors import InputError
from flaxformers_edu.layers.mlp import ACTIVATIONS, FeedForward, activation

X = np.linspace(-8.0, 8.0, 2001)


def erf(x):
    return np.vectorize(math.erf)(x)


FORMULAS = {
    "relu": np.maximum(X, 0),
    "gelu": X * 0.5 * (1 + erf(X / math.sqrt(2))),
    "gelu_tanh": 0.5 * X * (1 + np.tanh(math.sqrt(2 / math.pi) * (X + 0.044715 * X**3))),
    "quick_gelu": X / (1 + np.exp(-1.702 * X)),
    "silu": X / (1 + np.exp(-X)),
    "tanh": np.tanh(X),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_is_its_formula(name):
    values = activation(name)(jnp.asarray(X, jnp.float32))
    np.testing.assert_allclose(values, FORMULAS[name], atol=3e-6)


def test_the_three_gelus_differ_as_published():
    exact = FORMULAS["gelu"]

    def largest_difference(name):
        return float(np.abs(activation(name)(jnp.asarray(X, jnp.float32)) - exact).max())

    assert largest_difference("gelu_tanh") == pytest.approx(4.73e-4, abs=2e-6)
    assert largest_difference("quick_gelu") == pytest.approx(2.03e-2, abs=1e-4)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_gelu_keeps_its_left_tail_in_half_precision(dtype):
    x = jnp.asarray(X, dtype)
    rounding = float(jnp.finfo(dtype).eps)
    at = np.asarray(x, np.float64)
    exact = at * 0.5 * (1 + erf(at / math.sqrt(2)))
    found = np.asarray(activation("gelu")(x), np.float64)
    tail = (at > -3.5) & (at < -1)  # where the rounding of 1 + erf would be off by 0.5 |x| of it
    np.testing.assert_allclose(found[tail], exact[tail], atol=0.3 * rounding)


def test_unknown_activation_names_the_nearest():
    with pytest.raises(InputError, match="'geul'; did you mean 'gelu'"):
        activation("geul")


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("use_bias", [False, True])
def test_feed_forward_is_its_equation(gated, use_bias):
    module = FeedForward(4, 6, activation="silu", gated=gated, use_bias=use_bias)
    x = jax.random.normal(jax.random.key(0), (2, 3, 4))
    boxed = module.init(jax.random.key(1), x)["params"]
    names = {"up", "down", "gate"} if gated else {"up", "down"}
    assert set(boxed) == names
    assert boxed["up"]["kernel"].names == ("embed", "mlp")
    assert boxed["down"]["kernel"].names == ("mlp", "embed")
    params = jax.tree.map(
        lambda leaf: leaf.value + 0.1, boxed, is_leaf=lambda leaf: hasattr(leaf, "names")
    )

    def linear(name, x):
        return x @ np.asarray(params[name]["kernel"]) + (0.1 if use_bias else 0.0)

    def silu(x):
        return x / (1 + np.exp(-x))

    x64 = np.asarray(x, np.float64)
    h = silu(linear("gate", x64)) * linear("up", x64) if gated else silu(linear("up", x64))
    np.testing.assert_allclose(
        module.apply({"params": params}, x), linear("down", h), rtol=1e-5, atol=1e-6
    )


def test_dropout_is_inside_after_the_activation():
    """With an identity below, what is dropped shows in the output as it is."""
    module = FeedForward(64, 64, activation="relu", use_bias=False, dropout_rate=0.5)
    eye = {"kernel": jnp.eye(64)}
    x = jnp.ones((1, 8, 64))
    y = module.apply(
        {"params": {"up": eye, "down": eye}},
        x,
        deterministic=False,
        rngs={"dropout": jax.random.key(0)},
    )
    assert set(np.asarray(y).ravel()) == {0.0, 2.0}
    np.testing.assert_array_equal(module.apply({"params": {"up": eye, "down": eye}}, x), x)
