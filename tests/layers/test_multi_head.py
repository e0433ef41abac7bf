"""Dims: B batch, T queries, S keys, D hidden size, H heads, G key/value heads, K, W head_dims."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformers_edu.errors import InputError
from flaxformers_edu.layers.masks import Mask
from flaxformers_edu.layers.multi_head import MultiHeadAttention
from flaxformers_edu.layers.positions import Rotary
from tests.layers import definitions
from tests.trees import random_params, shapes

B, T, S, D = 2, 3, 5, 12


def inputs(rows=T, seed=0):
    return jax.random.normal(jax.random.key(seed), (B, rows, D))


def attend(module, x, source, mask=None, **settings):
    """Both calls in one, as a function for init and apply."""
    return module(x, module.keys_values(source), mask, **settings)


def initialise(module, x, source):
    """Boxed shapes and random parameters."""
    boxed = shapes(module, x, source, method=attend)
    return boxed, random_params(module, x, source, method=attend)


def project(params, name, x):
    leaf = params[name]
    y = np.einsum("btd,dhk->bthk", np.asarray(x, np.float64), leaf["kernel"])
    return y + np.asarray(leaf.get("bias", 0.0))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"num_kv_heads": 2, "head_dim": 4, "value_head_dim": 6, "scale": 1.0},
        {"num_kv_heads": 1, "use_bias": False},
        {"use_bias": False, "use_output_bias": True},
    ],
    ids=str,
)
def test_multi_head_attention_is_its_equation(fields):
    module = MultiHeadAttention(num_heads=4, hidden_size=D, **fields)
    x, source = inputs(), inputs(S, seed=1)
    boxed, params = initialise(module, x, source)
    mask = Mask(key_lengths_B=jnp.array([2, 5]))
    y, sown = jax.jit(functools.partial(module.apply, method=attend, mutable=["intermediates"]))(
        {"params": params}, x, source, mask
    )

    heads, kv_heads = 4, fields.get("num_kv_heads", 4)
    width = fields.get("head_dim", 3)
    value_width = fields.get("value_head_dim", width)
    assert boxed["query"]["kernel"].names == ("embed", "heads", "head_dim")
    assert boxed["key"]["kernel"].names == ("embed", "kv_heads", "head_dim")
    assert boxed["out"]["kernel"].names == ("heads", "head_dim", "embed")
    assert params["query"]["kernel"].shape == (D, heads, width)
    assert params["key"]["kernel"].shape == (D, kv_heads, width)
    assert params["value"]["kernel"].shape == (D, kv_heads, value_width)
    assert params["out"]["kernel"].shape == (heads, value_width, D)
    assert ("bias" in params["query"]) == fields.get("use_bias", True)
    assert ("bias" in params["out"]) == fields.get("use_output_bias", fields.get("use_bias", True))

    allowed = definitions.allowed_BTS(mask, B, T, S)
    q, (k, v) = project(params, "query", x), (project(params, n, source) for n in ("key", "value"))
    o, weights = definitions.attention(q, k, v, allowed, fields.get("scale"))
    expected = np.einsum("bthw,hwd->btd", o, params["out"]["kernel"])
    expected = expected + np.asarray(params["out"].get("bias", 0.0))
    np.testing.assert_allclose(y, expected, atol=1e-5)

    sown_BHTS = sown["intermediates"]["weights"]
    np.testing.assert_allclose(sown_BHTS, weights, atol=1e-6)
    np.testing.assert_allclose(sown_BHTS.sum(axis=-1), 1.0, atol=1e-6)
    scores_BHTS = sown["intermediates"]["scores"]  # of all pairs: no mask is in them
    assert np.abs(scores_BHTS).max() < 100
    exponentials = np.where(allowed[:, None], np.exp(scores_BHTS), 0.0)
    np.testing.assert_allclose(
        exponentials / exponentials.sum(axis=-1, keepdims=True), weights, atol=1e-5
    )


def test_rotary_turns_queries_and_keys_alike():
    """Only distances count: shifting all positions changes nothing, shifting the queries' does."""
    module = MultiHeadAttention(num_heads=2, hidden_size=D, rotary=Rotary())
    x = inputs()
    _, params = initialise(module, x, x)

    @jax.jit
    def run(query_positions, key_positions):
        def both(module):
            return module(x, module.keys_values(x, key_positions), positions_BT=query_positions)

        return module.apply({"params": params}, method=both)

    positions = jnp.arange(T)[None]
    plain = run(positions, positions)
    np.testing.assert_allclose(run(positions + 5, positions + 5), plain, atol=1e-5)
    assert np.abs(run(positions + 5, positions) - plain).max() > 1e-3
    np.testing.assert_allclose(
        module.apply({"params": params}, x, x, method=attend), plain, atol=1e-5
    )


def test_dropout_of_weights_needs_training():
    module = MultiHeadAttention(num_heads=2, hidden_size=D, dropout_rate=0.5)
    x = inputs()
    _, params = initialise(module, x, x)

    @functools.partial(jax.jit, static_argnums=0)
    def run(deterministic, key):
        return module.apply(
            {"params": params},
            x,
            x,
            deterministic=deterministic,
            rngs={"dropout": key},
            method=attend,
        )

    plain = run(True, jax.random.key(0))
    np.testing.assert_array_equal(plain, run(True, jax.random.key(1)))
    assert (run(False, jax.random.key(0)) != run(False, jax.random.key(1))).any()


def test_bfloat16_keeps_parameters_in_float32():
    module = MultiHeadAttention(num_heads=2, hidden_size=D, dtype=jnp.bfloat16)
    x = inputs()
    boxed, params = initialise(module, x, x)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    assert module.apply({"params": params}, x, x, method=attend).dtype == jnp.bfloat16


def test_hidden_size_that_does_not_divide():
    module = MultiHeadAttention(num_heads=5, hidden_size=D)
    with pytest.raises(InputError, match="hidden_size 12 does not divide into num_heads 5"):
        module.init(jax.random.key(0), inputs(), inputs(), method=attend)
