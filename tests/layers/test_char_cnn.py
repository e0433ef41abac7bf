"""Words from characters, against the definitions written out in numpy."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformers_edu.layers.char_cnn import CharacterCNN

FILTERS = ((1, 3), (3, 2))
IDS = np.random.default_rng(0).integers(1, 9, (2, 3, 5)).astype(np.int32)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.fixture(scope="module")
def cnn():
    model = CharacterCNN(9, 4, FILTERS, num_highway=1, output_size=6)
    params = nn.meta.unbox(jax.jit(model.init)(jax.random.key(0), jnp.asarray(IDS))["params"])
    return model, params


def test_it_begins_as_published(cnn):
    _, params = cnn
    assert not params["embedding"][0].any() and params["embedding"][1:].any(axis=1).all()
    np.testing.assert_array_equal(params["highway_0"]["carry_bias"], -2)
    assert params["projection"]["kernel"].shape == (5, 6)


def test_convolutions_highway_and_projection(cnn):
    model, params = cnn
    rng = np.random.default_rng(1)
    params = jax.tree.map(lambda x: rng.standard_normal(x.shape).astype(np.float32), params)
    parts = []
    for index, (width, number) in enumerate(FILTERS):
        kernel, bias = (params[f"convolution_{index}"][name] for name in ("kernel", "bias"))
        found = np.full((2, 3, number), -np.inf)
        for start in range(5 - width + 1):
            y = sum(params["embedding"][IDS[..., start + j]] @ kernel[j] for j in range(width))
            found = np.maximum(found, y + bias)
        parts.append(np.maximum(found, 0))
    x, highway = np.concatenate(parts, -1), params["highway_0"]
    gate = sigmoid(x @ highway["carry"]["kernel"] + highway["carry_bias"])
    new = x @ highway["transform"]["kernel"] + highway["transform"]["bias"]
    x = gate * np.maximum(new, 0) + (1 - gate) * x
    wanted = x @ params["projection"]["kernel"] + params["projection"]["bias"]
    out = jax.jit(lambda p: model.apply({"params": p}, jnp.asarray(IDS)))(params)
    np.testing.assert_allclose(out, wanted, rtol=1e-5, atol=1e-5)
