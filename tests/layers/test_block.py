"""Blocks against a composition of their parts, written out."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformers_edu.layers.block import Block
from flaxformers_edu.layers.masks import Mask
from flaxformers_edu.layers.mlp import FeedForward
from flaxformers_edu.layers.multi_head import MultiHeadAttention
from flaxformers_edu.layers.norms import LayerNorm, RMSNorm
from tests.trees import random_params

B, T, S, D = 2, 4, 3, 8
attention = partial(MultiHeadAttention, num_heads=2, hidden_size=D)
mlp = partial(FeedForward, hidden_size=D, intermediate_size=12)


@pytest.mark.parametrize("norm_position", ["pre", "post"])
@pytest.mark.parametrize("with_source", [False, True])
@pytest.mark.parametrize("norm", [LayerNorm, RMSNorm])
def test_block_is_its_composition(norm_position, with_source, norm):
    block = Block(
        attention,
        mlp,
        norm,
        make_cross_attention=attention if with_source else None,
        norm_position=norm_position,
    )
    x = jax.random.normal(jax.random.key(0), (B, T, D))
    source = jax.random.normal(jax.random.key(1), (B, S, D)) if with_source else None
    mask, source_mask = Mask(causal=True), Mask(key_lengths_B=jnp.array([1, 3]))
    params = random_params(block, x, mask, source, source_mask)
    names = {"attention", "attention_norm", "mlp", "mlp_norm"}
    assert set(params) == names | (
        {"cross_attention", "cross_attention_norm"} if source is not None else set()
    )
    y, cache = jax.jit(block.apply)({"params": params}, x, mask, source, source_mask)
    assert cache is None

    @jax.jit
    def composition(params, x, source):
        def part(module, name, *args, **settings):
            return module.apply({"params": params[name]}, *args, **settings)

        def attend(name, h, seen, mask):
            kv = part(attention(), name, seen, method="keys_values")
            return part(attention(), name, h, kv, mask)

        if norm_position == "pre":
            h = part(norm(), "attention_norm", x)
            x = x + attend("attention", h, h, mask)
            if source is not None:
                h = part(norm(), "cross_attention_norm", x)
                x = x + attend("cross_attention", h, source, source_mask)
            return x + part(mlp(), "mlp", part(norm(), "mlp_norm", x))
        x = part(norm(), "attention_norm", x + attend("attention", x, x, mask))
        if source is not None:
            h = x + attend("cross_attention", x, source, source_mask)
            x = part(norm(), "cross_attention_norm", h)
        return part(norm(), "mlp_norm", x + part(mlp(), "mlp", x))

    np.testing.assert_allclose(y, composition(params, x, source), atol=1e-5)


def test_dropout_is_on_what_a_sublayer_adds_not_on_the_residual():
    """With rate 1 nothing is added: a pre-norm block is then the identity."""
    block = Block(attention, mlp, LayerNorm, norm_position="pre", dropout_rate=1.0)
    x = jax.random.normal(jax.random.key(0), (B, T, D))
    params = random_params(block, x)
    rngs = {"dropout": jax.random.key(1)}
    run = jax.jit(partial(block.apply, deterministic=False))
    y, _ = run({"params": params}, x, rngs=rngs)
    np.testing.assert_array_equal(y, x)


def test_source_keys_and_values_are_those_of_cross_attention():
    block = Block(attention, mlp, LayerNorm, make_cross_attention=attention)
    x = jax.random.normal(jax.random.key(0), (B, T, D))
    source = jax.random.normal(jax.random.key(1), (B, S, D))
    params = random_params(block, x, None, source)
    ours = block.apply({"params": params}, source, method="source_keys_values")
    theirs = attention().apply({"params": params["cross_attention"]}, source, method="keys_values")
    np.testing.assert_array_equal(ours.key_BSGK, theirs.key_BSGK)
    np.testing.assert_array_equal(ours.value_BSGW, theirs.value_BSGW)


@pytest.mark.parametrize("drop_attention", [True, False])
def test_dropout_of_attention_can_be_left_out(drop_attention):
    """With a feed-forward network that gives 0, attention's output alone is there to be dropped."""
    block = Block(attention, mlp, LayerNorm, dropout_rate=0.5, drop_attention=drop_attention)
    x = jax.random.normal(jax.random.key(0), (B, T, D))
    params = random_params(block, x)
    params["mlp"] = jax.tree.map(jnp.zeros_like, params["mlp"])
    expected, _ = block.apply({"params": params}, x)
    dropped, _ = block.apply(
        {"params": params}, x, deterministic=False, rngs={"dropout": jax.random.key(1)}
    )
    assert (np.abs(dropped - expected).max() > 0.1) == drop_attention
