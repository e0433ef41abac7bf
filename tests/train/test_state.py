import flax.linen as nn
import jax
import numpy as np
import optax
import pytest

from flaxformers_edu.models import TransformerConfig
from flaxformers_edu.optim import Optimizer
from flaxformers_edu.sharding import MeshShape
from train.state import abstract_params, abstract_state, count, create_state, shardings_of

CONFIG = TransformerConfig(
    vocab_size=24, hidden_size=8, num_layers=2, num_heads=2, intermediate_size=16
)
ADAM = optax.adam(1e-3)


def test_the_seed_decides():
    mesh = MeshShape().build(jax.devices()[:1])
    states = [create_state(CONFIG.build(), ADAM, mesh, seed=s, ema=False) for s in (0, 0, 1)]
    first, same, other = (np.asarray(s.params["embedding"]["embedding"]) for s in states)
    np.testing.assert_array_equal(first, same)
    assert np.abs(first - other).max() > 0
    assert int(states[0].step) == 0


def test_the_average_begins_as_a_copy():
    state = create_state(
        CONFIG.build(), ADAM, MeshShape().build(jax.devices()[:1]), seed=0, ema=True
    )
    for mine, other in zip(jax.tree.leaves(state.ema), jax.tree.leaves(state.params), strict=True):
        np.testing.assert_array_equal(np.asarray(mine), np.asarray(other))
        assert mine.unsafe_buffer_pointer() != other.unsafe_buffer_pointer()


def test_the_plan_is_what_is_made():
    mesh = MeshShape(data=2, fsdp=2, tensor=2).build()
    plan = abstract_state(CONFIG.build(), ADAM, mesh, ema=True)
    made = create_state(CONFIG.build(), ADAM, mesh, seed=0, ema=True)
    assert jax.tree.structure(plan) == jax.tree.structure(made)
    for shape, leaf in zip(jax.tree.leaves(plan), jax.tree.leaves(made), strict=True):
        assert (shape.shape, shape.dtype) == (leaf.shape, leaf.dtype)
        assert shape.sharding.is_equivalent_to(leaf.sharding, leaf.ndim)
    assert jax.tree.structure(shardings_of(plan)) == jax.tree.structure(plan)


def test_moments_lie_where_their_parameters_lie():
    mesh = MeshShape(data=2, fsdp=2, tensor=2).build()
    plan = abstract_state(CONFIG.build(), ADAM, mesh, ema=False)
    moments, params = plan.opt_state[0].mu, plan.params
    specs = [leaf.sharding.spec for leaf in jax.tree.leaves(params)]
    assert [leaf.sharding.spec for leaf in jax.tree.leaves(moments)] == specs
    assert any(spec and any(spec) for spec in specs)  # some are split indeed


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_frozen_parameters_have_no_moments_on_a_mesh(name):
    model, mesh = CONFIG.build(), MeshShape(data=2, fsdp=2, tensor=2).build()
    shapes = nn.meta.unbox(abstract_params(model))
    optimizer = Optimizer(name=name, frozen=("^encoder/",)).build(1e-3, shapes)
    made = create_state(model, optimizer, mesh, seed=0)
    plan = abstract_state(model, optimizer, mesh)
    assert jax.tree.structure(plan) == jax.tree.structure(made)
    moments = [jax.tree_util.keystr(p) for p, _ in jax.tree.leaves_with_path(made.opt_state)]
    assert any("decoder" in path for path in moments)
    assert not any("encoder" in path for path in moments)


def test_the_same_parameters_on_every_mesh():
    shapes = (MeshShape(data=8), MeshShape(data=2, fsdp=2, tensor=2))
    states = [create_state(CONFIG.build(), ADAM, s.build(), seed=0, ema=False) for s in shapes]
    for leaves in zip(*(jax.tree.leaves(state.params) for state in states), strict=True):
        for leaf in leaves[1:]:
            np.testing.assert_array_equal(np.asarray(leaf), np.asarray(leaves[0]))


def test_count():
    assert count({"a": np.zeros((2, 3)), "b": {"c": np.zeros(())}}) == 7
