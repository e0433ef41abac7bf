"""Layouts, sharing and rematerialisation: what changes and what must not.

Dims: L layers, B batch, T length, D hidden size, H heads.
"""

import math
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformers_edu.errors import InputError
from flaxformers_edu.layers.block import Block
from flaxformers_edu.layers.dropout import dropout
from flaxformers_edu.layers.intermediates import sow
from flaxformers_edu.layers.masks import Mask
from flaxformers_edu.layers.mlp import FeedForward
from flaxformers_edu.layers.multi_head import MultiHeadAttention
from flaxformers_edu.layers.norms import LayerNorm
from flaxformers_edu.layers.stack import Stack, is_shared, stack_layers, unstack_layers
from tests.trees import assert_close, random_params, shapes

L, B, T, D, H = 2, 3, 5, 8, 4
X = jnp.asarray(np.random.default_rng(0).normal(size=(B, T, D)), jnp.float32)
W = jnp.asarray(np.random.default_rng(1).normal(size=(B, T, D)), jnp.float32)
MASK = Mask(causal=True)

block = partial(
    Block,
    partial(MultiHeadAttention, num_heads=H, hidden_size=D),
    partial(FeedForward, hidden_size=D, intermediate_size=12),
    LayerNorm,
    norm_position="pre",
)


def stack(num_layers=L, make_block=block, **fields):
    return Stack(make_block, num_layers, **fields)


def loss(module, params, x=X):
    y, _ = module.apply({"params": params}, x, MASK)
    return (y * W).sum()


@partial(jax.jit, static_argnums=0)
def loss_and_gradients(module, params):
    return jax.value_and_grad(partial(loss, module), argnums=(0, 1))(params, X)


def test_layouts_begin_from_the_same_random_numbers():
    trees = {
        layout: nn.meta.unbox(
            jax.jit(stack(layout=layout, share="attention").init)(jax.random.key(3), X, MASK)
        )["params"]
        for layout in ("scanned", "unrolled")
    }
    assert_close(unstack_layers(trees["scanned"]), trees["unrolled"], rtol=0, atol=0)
    # And the layers from different ones.
    kernel = trees["scanned"]["layers"]["mlp"]["up"]["kernel"]
    assert (kernel[0] != kernel[1]).all()


@pytest.mark.parametrize("layout", ["scanned", "unrolled"])
def test_initialising_traces_one_layer_and_no_forward_pass(layout):
    traced = []

    class Noted(nn.Module):
        @nn.compact
        def __call__(self, x_BTD, cache=None, deterministic=True):
            traced.append(self.is_initializing())
            return nn.Dense(D)(x_BTD), cache

    module = stack(num_layers=5, make_block=Noted, layout=layout)
    jax.eval_shape(lambda: module.init(jax.random.key(0), X))
    assert traced == [True]


def test_stacked_parameters_have_a_layers_axis_in_front():
    boxed = shapes(stack(), X, MASK)["layers"]
    assert boxed["mlp"]["up"]["kernel"].names == ("layers", "embed", "mlp")
    assert boxed["mlp_norm"]["scale"].names == ("layers", "norm")
    unrolled = shapes(stack(layout="unrolled"), X, MASK)["layers"]
    assert unrolled["0"]["mlp"]["up"]["kernel"].names == ("embed", "mlp")


@pytest.mark.parametrize("share", ["none", "attention", "ffn", "all"])
def test_conversion_goes_both_ways(share):
    scanned = {"encoder": random_params(stack(share=share), X, MASK), "other": {"w": jnp.ones(2)}}
    unrolled = unstack_layers(scanned)
    expected = shapes(stack(share=share, layout="unrolled"), X, MASK)
    assert jax.tree.map(jnp.shape, unrolled["encoder"]) == jax.tree.map(
        jnp.shape, nn.meta.unbox(expected)
    )
    assert_close(stack_layers(unrolled), scanned, rtol=0, atol=0)
    # Converting what is converted already changes nothing.
    assert_close(unstack_layers(unrolled), unrolled, rtol=0, atol=0)
    assert_close(stack_layers(scanned), scanned, rtol=0, atol=0)


@pytest.mark.parametrize("share", ["none", "attention", "ffn", "all"])
def test_sharing_is_equal_copies_whose_gradients_add_up(share):
    """Against an unrolled stack that shares nothing and holds copies of what is shared."""
    module = stack(share=share)
    params = random_params(module, X, MASK)
    copies = unstack_layers(params)
    shared = copies.pop("shared", {})
    layers = copies.get("layers", {str(i): {} for i in range(L)})
    copied = {"layers": {str(i): {**shared, **layers[str(i)]} for i in range(L)}}
    expected, (d_copied, d_x) = loss_and_gradients(stack(layout="unrolled"), copied)

    value, (d_params, d_input) = loss_and_gradients(module, params)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(d_input, d_x, atol=1e-5)
    by_layer = [d_copied["layers"][str(i)] for i in range(L)]
    wanted = {}
    if share != "none":
        first = {name: [layer[name] for layer in by_layer] for name in shared}
        wanted["shared"] = {
            name: jax.tree.map(lambda *g: sum(g), *trees) for name, trees in first.items()
        }
    if share != "all":
        own = [{n: tree for n, tree in layer.items() if n not in shared} for layer in by_layer]
        wanted["layers"] = jax.tree.map(lambda *g: jnp.stack(g), *own)
    assert_close(d_params, wanted, atol=2e-5, rtol=1e-4)


def test_unrolled_sharing_equals_scanned():
    params = random_params(stack(share="attention"), X, MASK)
    scanned = loss_and_gradients(stack(share="attention"), params)
    unrolled = loss_and_gradients(
        stack(share="attention", layout="unrolled"), unstack_layers(params)
    )
    np.testing.assert_allclose(unrolled[0], scanned[0], rtol=1e-5)
    assert_close(stack_layers(unrolled[1][0]), scanned[1][0], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("share", ["none", "attention", "ffn", "all"])
def test_what_is_shared_is_counted_once(share):
    def count(tree):
        return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))

    one = nn.meta.unbox(shapes(block(), X, MASK))
    expected = sum(count(tree) * (1 if is_shared(name, share) else L) for name, tree in one.items())
    assert count(nn.meta.unbox(shapes(stack(share=share), X, MASK))) == expected
    shared = {name for name in one if is_shared(name, share)}
    attention, ffn = {"attention", "attention_norm"}, {"mlp", "mlp_norm"}
    assert (
        shared
        == {
            "none": set(),
            "attention": attention,
            "ffn": ffn,
            "all": attention | ffn,
        }[share]
    )


POLICIES = ["none", "full", "dots", "dots_no_batch", "offload"]
HAS_HOST_MEMORY = any(
    memory.kind == "pinned_host" for memory in jax.local_devices()[0].addressable_memories()
)


def residual_bytes(module, params):
    """What the forward pass keeps for the backward pass, by shapes alone."""
    pull = jax.eval_shape(lambda params: jax.vjp(partial(loss, module), params)[1], params)
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(pull))


@pytest.mark.parametrize("layout", ["scanned", "unrolled"])
def test_policies_differ_in_what_they_keep(layout):
    params = random_params(stack(layout=layout), X, MASK)
    kept = {
        policy: residual_bytes(stack(layout=layout, remat=policy), params)
        for policy in ("none", "dots", "dots_no_batch", "full")
    }
    assert kept["none"] > kept["dots"] > kept["dots_no_batch"] > kept["full"], kept


def test_policies_agree_in_loss_and_gradients():
    params = random_params(stack(), X, MASK)
    expected, gradients = loss_and_gradients(stack(), params)
    policies = POLICIES[1:] if HAS_HOST_MEMORY else POLICIES[1:-1]
    for policy in policies:
        value, found = loss_and_gradients(stack(remat=policy), params)
        np.testing.assert_allclose(value, expected, rtol=1e-6)
        assert_close(found, gradients, atol=1e-5, rtol=1e-5)


@pytest.mark.skipif(not HAS_HOST_MEMORY, reason="the backend has no pinned host memory")
def test_offload_moves_residuals_to_the_host():
    params = random_params(stack(), X, MASK)

    def program(policy):
        return str(jax.make_jaxpr(jax.grad(partial(loss, stack(remat=policy))))(params)).lower()

    assert "host" in program("offload")
    assert "host" not in program("dots_no_batch")


def test_offload_without_host_memory_says_so(monkeypatch):
    class Device:
        @staticmethod
        def addressable_memories():
            return ()

    monkeypatch.setattr(jax, "local_devices", lambda: [Device])
    with pytest.raises(InputError, match="'offload' needs pinned host memory.*dots_no_batch"):
        shapes(stack(remat="offload"), X, MASK)


@pytest.mark.parametrize(
    ("field", "value", "nearest"),
    [("layout", "scaned", "scanned"), ("share", "fnn", "ffn"), ("remat", "ofload", "offload")],
)
def test_unknown_names_say_the_nearest(field, value, nearest):
    with pytest.raises(InputError, match=f"{value!r}; did you mean {nearest!r}"):
        shapes(stack(**{field: value}), X, MASK)


def test_the_program_does_not_grow_with_depth_when_scanned():
    def size(num_layers, layout):
        module = stack(num_layers, layout=layout)
        params = nn.meta.unbox(shapes(module, X, MASK))
        step = jax.jit(jax.grad(partial(loss, module)))
        return len(step.lower(params).as_text().splitlines())

    assert size(2, "scanned") == size(12, "scanned")
    assert size(4, "unrolled") > 1.5 * size(2, "unrolled")


class Noise(nn.Module):
    """A block that adds dropout's mask and shows it."""

    @nn.compact
    def __call__(self, x, mask=None, *, cache=None, deterministic=True):
        self.param("unused", nn.with_logical_partitioning(nn.initializers.zeros, ("norm",)), (1,))
        key = None if deterministic else self.make_rng("dropout")
        kept = dropout(jnp.ones_like(x), 0.5, key)
        sow(self, "kept", kept)
        return x + kept, cache


def test_layers_drop_differently_in_both_layouts():
    kept = {}
    for layout in ("scanned", "unrolled"):
        module = stack(make_block=Noise, layout=layout)
        variables = {"params": random_params(module, X, MASK)}
        run = jax.jit(partial(module.apply, deterministic=False, mutable=["intermediates"]))
        (y, _), sown = run(variables, X, MASK, rngs={"dropout": jax.random.key(0)})
        kept[layout] = np.asarray(sown["intermediates"]["kept"])
        assert kept[layout].shape == (L, B, T, D)
        np.testing.assert_allclose(y, X + kept[layout].sum(axis=0), rtol=1e-5, atol=1e-5)
        for i in range(L):
            for j in range(i):
                assert (kept[layout][i] != kept[layout][j]).any()
        (other, _), _ = run(variables, X, MASK, rngs={"dropout": jax.random.key(1)})
        assert (other != y).any()
    np.testing.assert_array_equal(kept["scanned"], kept["unrolled"])


@pytest.mark.parametrize("layout", ["scanned", "unrolled"])
def test_looking_inside(layout):
    module = stack(layout=layout)
    params = random_params(module, X, MASK)
    run = jax.jit(partial(module.apply, mutable=["intermediates"]))
    (y, _), sown = run({"params": params}, X, MASK)
    sown = sown["intermediates"]
    assert set(sown) == {"attention", "hidden_state"}
    weights = sown["attention"]["weights"]
    assert weights.shape == (L, B, H, T, T)
    np.testing.assert_allclose(weights.sum(axis=-1), 1.0, atol=1e-6)
    assert not np.triu(weights, 1).any()
    assert sown["hidden_state"].shape == (L, B, T, D)
    np.testing.assert_array_equal(sown["hidden_state"][-1], y)
    plain, _ = jax.jit(module.apply)({"params": params}, X, MASK)
    np.testing.assert_allclose(plain, y, atol=1e-6)


def test_nothing_is_computed_for_those_who_do_not_look():
    module = stack()
    params = random_params(module, X, MASK)

    def outputs(**settings):
        text = str(jax.make_jaxpr(partial(module.apply, **settings))({"params": params}, X, MASK))
        return text.count(f"f32[{L},{B},{H},{T},{T}]"), text.count(f"f32[{L},{B},{T},{D}]")

    assert outputs() == (0, 0)
    assert min(outputs(mutable=["intermediates"])) > 0


@pytest.mark.parametrize("layout", ["scanned", "unrolled"])
def test_copies_are_layers_with_the_same_parameters(layout):
    module = stack(num_layers=5, copies=(0, 0, 1, 2, 2), layout=layout)
    params = random_params(module, X, MASK)
    stacked = params if layout == "scanned" else stack_layers(params)
    assert {len(leaf) for leaf in jax.tree.leaves(stacked)} == {3}
    repeated = jax.tree.map(lambda p: p[jnp.array([0, 0, 1, 2, 2])], stacked)
    expected, _ = loss_and_gradients(stack(num_layers=5), repeated)
    found, _ = loss_and_gradients(module, params)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
