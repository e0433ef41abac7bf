"""Meshes over eight devices that the host pretends to have: placement, and equal numbers."""

import dataclasses
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from flaxformers_edu.errors import InputError
from flaxformers_edu.models.transformer import TransformerConfig
from flaxformers_edu.sharding import (
    ACTIVATION_RULES,
    AXES,
    PARAMETER_RULES,
    MeshShape,
    batch_sharding,
    parameter_shardings,
    shard,
)
from tests.trees import assert_close, random_params, shapes

CONFIG = TransformerConfig(
    vocab_size=24,
    hidden_size=8,
    num_layers=1,
    num_heads=2,
    intermediate_size=16,
    attention_implementation="xla",
)
MODULE = CONFIG.build()
DUMMY = MODULE.dummy_inputs()
IDS = jnp.asarray(np.random.default_rng(0).integers(2, 24, (8, 6)), jnp.int32)
INPUTS = {
    "input_ids": IDS,
    "attention_mask": jnp.asarray(np.arange(6)[None] < np.arange(8)[:, None] % 6 + 1, jnp.int32),
    "decoder_input_ids": IDS[:, ::-1],
}
needs_eight = pytest.mark.skipif(jax.device_count() != 8, reason="needs eight devices")


@needs_eight
def test_minus_one_takes_the_rest():
    assert dict(MeshShape().build().shape) == {"data": 8, "fsdp": 1, "tensor": 1, "sequence": 1}
    mesh = MeshShape(data=2, fsdp=-1, tensor=2).build()
    assert tuple(mesh.shape[axis] for axis in AXES) == (2, 2, 2, 1)
    assert MeshShape(data=1).build(jax.devices()[:1]).size == 1


@needs_eight
@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (MeshShape(data=3), "data 3 x fsdp 1 x tensor 1 x sequence 1 does not multiply to 8"),
        (MeshShape(tensor=3), "data -1 x fsdp 1 x tensor 3.*does not multiply to 8"),
        (MeshShape(data=16), "does not multiply to 8"),
        (MeshShape(fsdp=-1), "only one mesh axis can be -1"),
        (MeshShape(tensor=0), "mesh.tensor is 0"),
        (MeshShape(fsdp=-2), "mesh.fsdp is -2"),
    ],
    ids=str,
)
def test_meshes_that_do_not_fit(shape, message):
    with pytest.raises(InputError, match=message):
        shape.build()


def boxed_and_specs(mesh, module=MODULE):
    boxed = shapes(module, **DUMMY)
    shardings = parameter_shardings(boxed, mesh)
    return boxed, jax.tree.map(lambda sharding: sharding.spec, shardings)


@needs_eight
def test_parameters_are_placed_by_their_names():
    _, specs = boxed_and_specs(MeshShape(data=2, fsdp=2, tensor=2).build())
    layers = specs["decoder"]["layers"]
    assert specs["embedding"]["embedding"] == PartitionSpec("tensor", "fsdp")
    assert layers["attention"]["query"]["kernel"] == PartitionSpec(None, "fsdp", "tensor", None)
    assert layers["attention"]["query"]["bias"] == PartitionSpec(None, "tensor", None)
    assert layers["attention"]["out"]["kernel"] == PartitionSpec(None, "tensor", None, "fsdp")
    assert layers["mlp"]["up"]["kernel"] == PartitionSpec(None, "fsdp", "tensor")
    assert layers["mlp"]["down"]["kernel"] == PartitionSpec(None, "tensor", "fsdp")
    assert layers["mlp_norm"]["scale"] == PartitionSpec(None, None)


@needs_eight
def test_an_axis_that_does_not_divide_stays_whole():
    module = dataclasses.replace(CONFIG, vocab_size=25).build()
    _, specs = boxed_and_specs(MeshShape(tensor=4, fsdp=2, data=1).build(), module)
    assert specs["embedding"]["embedding"] == PartitionSpec(None, "fsdp")
    # Two heads over four devices: whole; sixteen columns: split.
    layers = specs["encoder"]["layers"]
    assert layers["attention"]["query"]["kernel"] == PartitionSpec(None, "fsdp", None, None)
    assert layers["mlp"]["up"]["kernel"] == PartitionSpec(None, "fsdp", "tensor")


def test_every_logical_name_has_a_rule():
    leaves = jax.tree.leaves(
        shapes(MODULE, **DUMMY), is_leaf=lambda leaf: isinstance(leaf, nn.LogicallyPartitioned)
    )
    names = {name for leaf in leaves for name in leaf.names}
    assert names <= set(PARAMETER_RULES)
    for rules in (PARAMETER_RULES, ACTIVATION_RULES):
        for axes in rules.values():
            assert axes is None or set([axes] if isinstance(axes, str) else axes) <= set(AXES)


def logits_of(params, inputs):
    return MODULE.apply({"params": params}, **inputs).logits


def loss_and_gradients(params, inputs):
    def loss(params):
        logits = logits_of(params, inputs)
        return (logits * jnp.sin(jnp.arange(24.0))[None, None]).sum(), logits

    (_, logits), gradients = jax.value_and_grad(loss, has_aux=True)(params)
    return logits, gradients


@pytest.fixture(scope="module")
def alone():
    """Parameters, logits and gradients on one device."""
    params = random_params(MODULE, **DUMMY)
    return params, *jax.jit(loss_and_gradients)(params, INPUTS)


@needs_eight
@pytest.mark.parametrize(
    "shape",
    [
        MeshShape(data=8),
        MeshShape(data=1, fsdp=8),
        MeshShape(data=4, tensor=2),
        MeshShape(data=2, fsdp=2, tensor=2),
        MeshShape(data=2, tensor=2, sequence=2),
    ],
    ids=str,
)
def test_every_mesh_computes_the_same(shape, alone):
    params, logits, gradients = alone
    mesh = shape.build()
    shardings = parameter_shardings(shapes(MODULE, **DUMMY), mesh)
    placed = jax.device_put(params, shardings)
    kernel = placed["encoder"]["layers"]["mlp"]["up"]["kernel"]
    pieces = mesh.shape["fsdp"] * mesh.shape["tensor"]
    assert kernel.addressable_shards[0].data.size == kernel.size // pieces
    inputs = jax.device_put(INPUTS, batch_sharding(mesh))
    rows = mesh.shape["data"] * mesh.shape["fsdp"]
    assert inputs["input_ids"].addressable_shards[0].data.shape[0] == 8 // rows
    # Gradients on the mesh that has everything; the others would only repeat it, slowly.
    with_gradients = (mesh.shape["data"], mesh.shape["fsdp"], mesh.shape["tensor"]) == (2, 2, 2)
    with jax.set_mesh(mesh):
        if with_gradients:
            run = jax.jit(loss_and_gradients, out_shardings=(None, shardings))
            found_logits, found = run(placed, inputs)
        else:
            found_logits, found = jax.jit(logits_of)(placed, inputs), gradients
    assert found_logits.addressable_shards[0].data.shape[0] == 8 // rows
    np.testing.assert_allclose(found_logits, logits, atol=2e-5)
    assert_close(found, gradients, atol=2e-4, rtol=1e-4)


@needs_eight
def test_shard_needs_a_mesh_and_axes_that_divide():
    x = jnp.ones((8, 6, 4))
    assert shard(x, ("batch", "length", "embed")) is x

    def constraint(x):
        return str(jax.make_jaxpr(partial(shard, names=("batch", "length", "mlp")))(x))

    assert "sharding_constraint" not in constraint(x)
    with jax.set_mesh(MeshShape(data=2, fsdp=2, tensor=2).build()):
        assert "('data', 'fsdp'), 'sequence', 'tensor'" in constraint(x)
        assert "('data', 'fsdp'), 'sequence', None" in constraint(jnp.ones((8, 6, 3)))
        assert "None, 'sequence', 'tensor'" in constraint(jnp.ones((6, 6, 4)))
    with jax.set_mesh(MeshShape(data=1).build(jax.devices()[:1])):
        assert "sharding_constraint" not in constraint(x)
