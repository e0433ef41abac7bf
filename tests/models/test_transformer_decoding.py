"""`generate` on the Transformer: how its layers are kept changes nothing that it finds."""

import dataclasses

import flax.linen as nn
import jax
import numpy as np
import pytest

import flaxformers_edu as ff
from flaxformers_edu.layers import stack
from flaxformers_edu.layers.stack import unstack_layers
from flaxformers_edu.models.transformer import TransformerConfig

CONFIG = TransformerConfig(
    vocab_size=23, hidden_size=8, num_layers=2, num_heads=2, intermediate_size=16
)


@pytest.fixture(scope="module")
def case():
    model = CONFIG.build()
    params = jax.jit(model.init)(jax.random.key(0), **model.dummy_inputs())["params"]
    params = jax.tree.map(lambda p: 3 * p, nn.meta.unbox(params))
    ids = np.array([[5, 6, 7, 1], [8, 1, 0, 0]], np.int32)
    return model, params, ids, (ids != 0).astype(np.int32)


def test_few_layers_are_taken_apart_and_many_are_not(case):
    model, params, *_ = case
    apart, apart_params = model.for_decoding(params)
    assert apart.config == dataclasses.replace(CONFIG, layout="unrolled")
    assert sorted(apart_params["decoder"]["layers"]) == ["0", "1"]
    deep = dataclasses.replace(CONFIG, num_layers=stack.UNROLLED_DECODING + 1).build()
    assert deep.for_decoding(params) == (deep, params)


@pytest.mark.parametrize("num_beams", [1, 3])
def test_generate_finds_the_same_in_every_layout(case, monkeypatch, num_beams):
    model, params, ids, mask = case
    settings = {"max_new_tokens": 6, "num_beams": num_beams, "min_new_tokens": 2}
    expected = ff.generate(model, params, ids, mask, **settings)
    unrolled = dataclasses.replace(CONFIG, layout="unrolled").build()
    apart = ff.generate(unrolled, unstack_layers(params), ids, mask, **settings)
    jax.clear_caches()  # the limit is read while tracing
    monkeypatch.setattr(stack, "UNROLLED_DECODING", 0)
    stacked = ff.generate(model, params, ids, mask, **settings)
    jax.clear_caches()
    for found in (apart, stacked):
        np.testing.assert_array_equal(found.sequences, expected.sequences)
        np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5)
