"""Depths and what they do to updates, with the layers stacked and apart."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from flaxformers_edu.errors import InputError
from flaxformers_edu.models import ElmoConfig, Seq2SeqConfig
from flaxformers_edu.optim import Optimizer
from flaxformers_edu.optim.depth import depths, layer_factors, number_of_layers
from flaxformers_edu.optim.paths import map_with_names

N, D, V = 3, 4, 7
NAMES = ["adamw", "lamb", "lars", "adafactor", "lion", "muon", "sgd", "adagrad"]


def trees(seed: int):
    """An encoder and its classifier twice: layers stacked, and layers apart."""
    keys = iter(jax.random.split(jax.random.key(seed), 20))
    layers = [
        {
            "attention": {"query": {"kernel": jax.random.normal(next(keys), (D, 2, 2))}},
            "attention_norm": {"scale": jax.random.normal(next(keys), (D,))},
        }
        for _ in range(N)
    ]
    rest = {
        "embeddings": {
            "token": {"embedding": jax.random.normal(next(keys), (V, D))},
            "norm": {"scale": jax.random.normal(next(keys), (D,))},
        },
        "embedding_projection": {"kernel": jax.random.normal(next(keys), (D, D))},
        "pooler": {"kernel": jax.random.normal(next(keys), (D, D))},
        "classifier": {"kernel": jax.random.normal(next(keys), (D, 2))},
    }
    stacked = {"encoder": {"layers": jax.tree.map(lambda *x: jnp.stack(x), *layers)}, **rest}
    apart = {"encoder": {"layers": {str(i): one for i, one in enumerate(layers)}}, **rest}
    return stacked, apart


def electra_factor(name: str, decay: float) -> float:
    """google-research/electra, model/optimization.py, _get_layer_lrs."""
    depth = 0 if name.startswith("embedding") else N + 2
    for layer in range(N):
        if f"layers/{layer}/" in name:
            depth = layer + 1
    return decay ** (N + 2 - depth)


def test_depths_of_a_model():
    stacked, apart = trees(0)
    assert number_of_layers(stacked) == number_of_layers(apart) == N
    found = depths(apart)
    assert found["embeddings"]["norm"]["scale"] == found["embedding_projection"]["kernel"] == 0
    layers = [found["encoder"]["layers"][str(i)]["attention_norm"]["scale"] for i in range(N)]
    assert layers == [1, 2, 3]
    assert found["pooler"]["kernel"] == found["classifier"]["kernel"] == N + 1
    vector = depths(stacked)["encoder"]["layers"]["attention"]["query"]["kernel"]
    assert vector.shape == (N, 1, 1, 1) and vector.ravel().tolist() == [1, 2, 3]


def test_shared_layers_are_one_group():
    params = {
        "embeddings": {"token": {"embedding": jnp.ones((V, D))}},
        "encoder": {"shared": {"mlp": {"up": {"kernel": jnp.ones((D, D))}}}},
        "classifier": {"kernel": jnp.ones((D, 2))},
    }
    assert jax.tree.leaves(depths(params)) == [2, 0, 1]  # classifier, embeddings, encoder


def test_groups_one_step_apart_are_ulmfits():
    _, apart = trees(0)
    factors = layer_factors(apart, 1 / 2.6, above_layers=1)
    assert factors["classifier"]["kernel"] == 1
    layers = [factors["encoder"]["layers"][str(i)]["attention_norm"]["scale"] for i in range(N)]
    np.testing.assert_allclose(layers, [2.6**-3, 2.6**-2, 2.6**-1], rtol=1e-6)
    assert factors["embeddings"]["norm"]["scale"] == pytest.approx(2.6**-4)


def updates_of(optimizer: Optimizer, params, gradients):
    transformation = optimizer.build(0.1, params)
    return jax.jit(transformation.update)(gradients, transformation.init(params), params)[0]


@pytest.mark.parametrize("name", NAMES)
def test_updates_are_electras_parts_in_both_layouts(name):
    (stacked, apart), (stacked_grads, apart_grads) = trees(0), trees(1)
    plain = updates_of(Optimizer(name=name, weight_decay=0.1), apart, apart_grads)
    decaying = Optimizer(name=name, weight_decay=0.1, layer_decay=0.7)
    found = updates_of(decaying, apart, apart_grads)
    expected = map_with_names(lambda n, u: u * electra_factor(n, 0.7), plain)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), found, expected)

    together = updates_of(decaying, stacked, stacked_grads)
    layers = found["encoder"]["layers"]
    restacked = jax.tree.map(lambda *x: jnp.stack(x), *(layers[str(i)] for i in range(N)))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4),
        together,
        {**found, "encoder": {"layers": restacked}},
    )


@pytest.mark.parametrize("name", NAMES)
def test_frozen_parameters_neither_move_nor_have_moments(name):
    params, gradients = trees(0)[0], trees(1)[0]
    frozen = ("^embedding", "attention_norm")
    optimizer = Optimizer(
        name=name, weight_decay=0.1, clip_norm=1.0, layer_decay=0.9, frozen=frozen
    )
    transformation = optimizer.build(0.1, params)
    state = transformation.init(params)
    updates, state = jax.jit(transformation.update)(gradients, state, params)
    new = optax.apply_updates(params, updates)

    def moved(name: str, before, after) -> bool:
        return not np.array_equal(before, after)

    assert map_with_names(moved, params, new) == {
        "encoder": {
            "layers": {
                "attention": {"query": {"kernel": True}},
                "attention_norm": {"scale": False},
            }
        },
        "embeddings": {"token": {"embedding": False}, "norm": {"scale": False}},
        "embedding_projection": {"kernel": False},
        "pooler": {"kernel": True},
        "classifier": {"kernel": True},
    }
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(state)]
    assert not [p for p in paths if "embedding" in p or "attention_norm" in p]
    assert [p for p in paths if "pooler" in p] or name in ("adafactor", "sgd")


def test_clipping_looks_at_what_moves():
    """A great gradient of what is frozen leaves the others' steps alone."""
    params, gradients = trees(0)[0], trees(1)[0]
    huge = {**gradients, "classifier": {"kernel": 1e6 * gradients["classifier"]["kernel"]}}
    optimizer = Optimizer(name="sgd", clip_norm=1.0, frozen=("classifier",))
    found, expected = (updates_of(optimizer, params, g) for g in (huge, gradients))
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def depths_of(config, task):
    """The depths of a model's parameters by the parts of their names that tell them apart."""
    model = config.build(task)

    def begin():
        return nn.unbox(model.init(jax.random.key(0), **model.dummy_inputs()))["params"]

    found: dict[str, set] = {}
    map_with_names(
        lambda name, depth: found.setdefault("/".join(name.split("/")[:3]), set()).add(int(depth)),
        depths(jax.eval_shape(begin)),
    )
    return found


def check(found, expected):
    """Whether all parameters whose names begin so lie at this depth, and there are some."""
    for part, depth in expected.items():
        assert {d for name, ds in found.items() if name.startswith(part) for d in ds} == {depth}


def test_recurrent_models_have_their_layers_too():
    small = {"vocab_size": 9, "hidden_size": 4}
    found = depths_of(Seq2SeqConfig(**small, embedding_size=4, num_layers=2), "seq2seq_lm")
    expected = {"embedding/": 0, "encoder/0": 1, "encoder/1": 2, "output/": 3}
    expected |= {"decoder/layers_0": 1, "decoder/layers_1": 2, "decoder/cross": 3}
    check(found, expected)
    found = depths_of(ElmoConfig(**small, projection_size=2), "token_classification")
    expected = {"token_embedder/": 0, "forward_lm/layers/0": 1, "backward_lm/layers/1": 2}
    expected |= {"own_words/": 3, "task_encoder/": 3, "mix/": 3, "classifier/": 3}
    check(found, expected)


@pytest.mark.parametrize("value", [0.0, 1.5, float("nan")])
def test_layer_decay_must_be_a_part(value):
    with pytest.raises(InputError, match="layer_decay=.* must be above 0 and at most 1"):
        Optimizer(layer_decay=value)


def test_freezing_all_or_nothing_is_refused():
    params = trees(0)[0]
    with pytest.raises(InputError, match="covers all: nothing can learn"):
        Optimizer(frozen=(".",)).build(0.1, params)
    with pytest.raises(InputError, match="pattern 'embeding' covers no parameter; the nearest"):
        Optimizer(frozen=("embeding",)).build(0.1, params)
