"""The heads, written out in NumPy, and where their dropout is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformers_edu.layers.heads import Classifier, MaskedLMHead, Pooler, TwoLayerClassifier
from tests.trees import random_params

X = jax.random.normal(jax.random.key(0), (3, 6))


def linear(params, x):
    return np.asarray(x) @ np.asarray(params["kernel"]) + np.asarray(params["bias"])


def test_pooler_and_classifier_own_their_kernel():
    for module, function in [(Pooler(6), np.tanh), (Classifier(2), lambda y: y)]:
        params = random_params(module, X)
        assert set(params) == {"kernel", "bias"}
        found = module.apply({"params": params}, X)
        np.testing.assert_allclose(found, function(linear(params, X)), atol=1e-5)


@pytest.mark.parametrize("name", ["tanh", "relu"])
def test_two_layers(name):
    module = TwoLayerClassifier(6, 2, name)
    params = random_params(module, X)
    h = linear(params["dense"], X)
    h = np.tanh(h) if name == "tanh" else np.maximum(h, 0)
    np.testing.assert_allclose(
        module.apply({"params": params}, X), linear(params["out"], h), atol=1e-5
    )


def test_masked_lm_head():
    x = jax.random.normal(jax.random.key(1), (2, 3, 6))
    table = np.random.default_rng(0).normal(size=(11, 4)).astype(np.float32)
    module = MaskedLMHead(11, 4, "relu", norm_epsilon=0.1)

    def to_vocabulary(h):
        return h @ jnp.asarray(table).T

    params = random_params(module, x, to_vocabulary)
    h = np.maximum(linear(params["transform"], x), 0)
    h = (h - h.mean(-1, keepdims=True)) / np.sqrt(h.var(-1, keepdims=True) + 0.1)
    h = h * np.asarray(params["norm"]["scale"]) + np.asarray(params["norm"]["bias"])
    expected = h @ table.T + np.asarray(params["bias"])
    found = module.apply({"params": params}, x, to_vocabulary)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("module", "drops"),
    [
        (Classifier(400), False),
        (Classifier(400, dropout_rate=0.5), True),
        (TwoLayerClassifier(6, 400, "tanh"), False),
        (TwoLayerClassifier(6, 400, "tanh", input_dropout_rate=0.5), True),
        (TwoLayerClassifier(6, 400, "tanh", dropout_rate=0.5), True),
    ],
)
def test_each_dropout_acts_in_training_alone(module, drops):
    variables = {"params": random_params(module, X)}
    expected = module.apply(variables, X)
    dropped = module.apply(variables, X, deterministic=False, rngs={"dropout": jax.random.key(0)})
    assert (np.abs(dropped - expected).max() > 0.1) == drops
