"""Stacked layers in groups, and a stack whose layers differ in turn.

Dims: L layers, B batch, T length, D hidden size.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformers_edu.layers.block import Block
from flaxformers_edu.layers.cache import Slots, empty_layers
from flaxformers_edu.layers.groups import (
    evenly_in_turn,
    group_of_layers,
    in_groups,
    layers_of_group,
    out_of_groups,
)
from flaxformers_edu.layers.masks import Mask
from flaxformers_edu.layers.mlp import FeedForward
from flaxformers_edu.layers.multi_head import MultiHeadAttention
from flaxformers_edu.layers.norms import LayerNorm
from flaxformers_edu.layers.stack import Stack, unstack_layers
from tests.trees import assert_close, random_params

L, B, T, D, H = 4, 2, 5, 8, 2
X = jnp.asarray(np.random.default_rng(0).normal(size=(B, T, D)), jnp.float32)
MASKS = [{"mask": Mask(causal=True, window=w)} for w in (None, 2)]

block = partial(
    Block,
    partial(MultiHeadAttention, num_heads=H, hidden_size=D),
    partial(FeedForward, hidden_size=D, intermediate_size=12),
    LayerNorm,
    norm_position="pre",
)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_groups_and_layers_go_both_ways(size):
    tree = {"a": jnp.arange(12).reshape(4, 3), "b": jnp.arange(4)}
    grouped = in_groups(tree, size)
    assert_close(out_of_groups(grouped, size), tree, atol=0)
    for i in range(4 // size):
        one = jax.tree.map(lambda p, i=i: p[i], grouped)
        layers = layers_of_group(one, size)
        assert len(layers) == size
        for j, layer in enumerate(layers):
            assert_close(layer, jax.tree.map(lambda p, k=i * size + j: p[k], tree), atol=0)
        assert_close(group_of_layers(layers), one, atol=0)


@pytest.mark.parametrize(
    ("given", "layers", "expected"), [("a", 3, "a"), ("ab", 4, "ab"), ("ab", 3, "aba")]
)
def test_what_does_not_go_into_the_layers_is_spelled_out(given, layers, expected):
    assert "".join(evenly_in_turn(given, layers)) == expected


@pytest.mark.parametrize("remat", ["none", "full"])
def test_each_layer_is_given_its_own(remat):
    """Outputs, gradients and caches of a scan over pairs are those of a loop with both masks."""
    scanned = Stack(block, L, remat=remat)
    unrolled = Stack(block, L, layout="unrolled")
    params = random_params(scanned, X, in_turn=MASKS)
    slots = Slots.empty(B, H, T, D // H, jnp.float32)

    @partial(jax.jit, static_argnums=0)
    @partial(jax.value_and_grad, argnums=1, has_aux=True)
    def loss(module, params):
        caches = empty_layers(slots, L, stacked=module is scanned)
        y, cache = module.apply({"params": params}, X, in_turn=MASKS, cache=caches)
        return (y * X).sum(), (y, cache)

    (_, (y, cache)), gradients = loss(scanned, params)
    (_, (expected, caches)), apart = loss(unrolled, unstack_layers(params))
    np.testing.assert_allclose(y, expected, atol=1e-5)
    assert_close(unstack_layers(gradients), apart, atol=1e-5)
    assert_close(cache, jax.tree.map(lambda *c: jnp.stack(c), *caches), atol=1e-5)
    alone, _ = unrolled.apply({"params": unstack_layers(params)}, X, **MASKS[0])
    assert np.abs(alone - expected).max() > 1e-2, "the masks have no effect"
