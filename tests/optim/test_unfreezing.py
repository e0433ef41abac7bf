"""What moves when: by depth and by path, layers stacked and apart, whatever the optimiser."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from flaxformers_edu.errors import InputError
from flaxformers_edu.optim import Optimizer
from flaxformers_edu.optim.depth import layer_factors
from flaxformers_edu.optim.unfreezing import starts
from tests.optim.test_depth import N, trees

LANGUAGE = {
    "embedding": {"embedding": jnp.ones((4, 2))},
    "layers": {str(i): {"input": {"kernel": jnp.ones((2, 4))}} for i in range(N)},
    "output": {"bias": jnp.ones(4)},
}


def first_updates(optimizer, params, steps):
    """The update, from 0, at which each parameter first moved; a tree of the leaves' shapes."""
    transformation = optimizer.build(1e-2, params)
    state, now = transformation.init(params), params
    first = jax.tree.map(lambda p: np.full(p.shape, -1), params)
    update = jax.jit(transformation.update)
    for step in range(steps):
        grads = jax.tree.map(jnp.ones_like, now)
        updates, state = update(grads, state, now)
        first = jax.tree.map(
            lambda f, u, step=step: np.where((f < 0) & (np.asarray(u) != 0), step, f),
            first,
            updates,
        )
        now = optax.apply_updates(now, updates)
    return first


@pytest.mark.parametrize(("layout", "name"), [("stacked", "adamw"), ("apart", "sgd")])
def test_one_group_more_after_every_so_many_updates(layout, name):
    params = dict(zip(("stacked", "apart"), trees(0), strict=True))[layout]
    found = first_updates(Optimizer(name=name, unfreeze_every=2), params, 2 * N + 4)
    assert (found["classifier"]["kernel"] == 0).all() and (found["pooler"]["kernel"] == 0).all()
    layers = found["encoder"]["layers"]
    for i in range(N):
        of_layer = layers["attention_norm"]["scale"][i] if layout == "stacked" else (
            layers[str(i)]["attention_norm"]["scale"])  # fmt: skip
        assert (of_layer == 2 * (N - i)).all()
    assert (found["embeddings"]["token"]["embedding"] == 2 * (N + 1)).all()


def test_a_tied_table_counts_as_the_head():
    tied = Optimizer(unfreeze_every=3, head=("^embedding/",))
    first = starts(LANGUAGE, every=3, head=tied.head)
    assert first["embedding"]["embedding"] == first["output"]["bias"] == 0
    assert [int(first["layers"][str(i)]["input"]["kernel"]) for i in range(N)] == [9, 6, 3]
    factors = layer_factors(LANGUAGE, 1 / 2.6, above_layers=1, head=tied.head)
    assert factors["embedding"]["embedding"] == 1


def test_ulmfits_rates_fall_by_the_same_factor_from_group_to_group():
    """η^{l-1} = η^l / 2.6 (section 3.2), as updates of plain SGD are."""
    optimizer = Optimizer(name="sgd", momentum=0.0, layer_decay=1 / 2.6, layer_decay_above=1)
    transformation = optimizer.build(1.0, LANGUAGE)
    grads = jax.tree.map(jnp.ones_like, LANGUAGE)
    updates, _ = transformation.update(grads, transformation.init(LANGUAGE), LANGUAGE)
    rates = [updates["output"]["bias"][0]]
    rates += [updates["layers"][str(i)]["input"]["kernel"][0, 0] for i in reversed(range(N))]
    rates.append(updates["embedding"]["embedding"][0, 0])
    np.testing.assert_allclose(rates, [-(2.6**-k) for k in range(N + 2)], rtol=1e-6)


def test_by_path():
    optimizer = Optimizer(unfreeze_at=((r"^layers/", 2), (r"^layers/1/", 4)))
    found = first_updates(optimizer, LANGUAGE, 6)
    assert [int(found["layers"][str(i)]["input"]["kernel"].max()) for i in range(N)] == [2, 4, 2]
    assert (found["embedding"]["embedding"] == 0).all()


def test_moments_are_warm_when_a_parameter_begins():
    """With a constant gradient, Adam's first update is as large as all of its updates."""
    optimizer = Optimizer(unfreeze_every=3)
    transformation = optimizer.build(1e-2, LANGUAGE)
    state = transformation.init(LANGUAGE)
    for _ in range(4):
        grads = jax.tree.map(jnp.ones_like, LANGUAGE)
        updates, state = transformation.update(grads, state, LANGUAGE)
    np.testing.assert_allclose(updates["layers"]["2"]["input"]["kernel"], -1e-2, rtol=1e-4)


def test_only_what_moves_is_clipped():
    optimizer = Optimizer(name="sgd", momentum=0.0, clip_norm=1.0, unfreeze_every=5)
    transformation = optimizer.build(1.0, LANGUAGE)
    grads = jax.tree.map(lambda p: 100 * jnp.ones_like(p), LANGUAGE)
    updates, _ = transformation.update(grads, transformation.init(LANGUAGE), LANGUAGE)
    assert float(optax.tree.norm(updates)) == pytest.approx(1.0)
    np.testing.assert_allclose(updates["output"]["bias"], -0.5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"unfreeze_at": (("^layrs/", 3),)}, "pattern '.layrs/' covers no parameter; the nearest"),
        ({"unfreeze_every": 2, "head": ("^embeding/",)}, "pattern '.embeding/' covers no"),
    ],
)
def test_schedules_that_name_nothing(fields, message):
    with pytest.raises(InputError, match=message):
        Optimizer(**fields).build(1e-3, LANGUAGE)


def test_a_model_without_layers_has_nothing_to_unfreeze():
    params = {"output": LANGUAGE["output"]}
    with pytest.raises(InputError, match="unfreeze_every is 2, and the model has no layers"):
        Optimizer(unfreeze_every=2).build(1e-3, params)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"unfreeze_every": -1}, "unfreeze_every=-1 must be at least 0"),
        ({"layer_decay_above": 0}, "layer_decay_above=0 must be at least 1"),
        ({"unfreeze_at": (("^layers/", -2),)}, "unfreeze_at gives '.layers/' -2"),
    ],
)
def test_bad_fields(fields, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(Optimizer(), **fields)
