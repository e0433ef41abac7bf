"""Meshes over eight devices that the host pretends to have: placement, and equal numbers."""

import dataclasses
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import topologies
from jax.sharding import AbstractDevice, AbstractMesh, PartitionSpec

from flaxformers_edu.errors import InputError
from flaxformers_edu.layers.multi_head import MultiHeadAttention
from flaxformers_edu.models.transformer import TransformerConfig
from flaxformers_edu.sharding import (
    ACTIVATION_RULES,
    AXES,
    PARAMETER_RULES,
    MeshShape,
    batch_sharding,
    check_lengths,
    parameter_shardings,
    platform,
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


@dataclasses.dataclass(frozen=True)
class Device:
    """As much of a device as the order in a mesh depends on."""

    id: int
    process_index: int = 0
    slice_index: int | None = None
    platform: str = "gpu"
    device_kind: str = "imaginary"


def ids(mesh):
    return np.vectorize(lambda device: device.id)(mesh.devices)


NODES = [Device(i, process_index=i // 2, slice_index=i // 4) for i in range(16)]
"""Sixteen devices, two a process, four a node."""


def test_slices_share_the_data_axis():
    mesh = MeshShape(data=8, tensor=2).build(NODES[::-1])
    assert mesh.shape["data"] == 8
    # Neighbours on every inner axis, and on data's inner part, are on one node.
    assert (ids(mesh).reshape(4, -1) // 4 == np.arange(4)[:, None]).all()
    mesh = MeshShape(data=2, fsdp=8, slices=2).build(NODES)
    assert (ids(mesh).reshape(2, 8) // 8 == np.arange(2)[:, None]).all()
    # One network for all: then any axis may cross.
    assert MeshShape(data=1, fsdp=16, slices=1).build(NODES).shape["fsdp"] == 16


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (MeshShape(data=2, fsdp=8), "mesh.data 2 does not divide over 4 slices"),
        (MeshShape(data=1, fsdp=16, slices=2), "mesh.data 1 does not divide over 2 slices"),
        (MeshShape(slices=3), "mesh.slices 3 does not divide 16 devices"),
        (MeshShape(slices=0), "mesh.slices is 0"),
    ],
    ids=str,
)
def test_slices_that_do_not_fit(shape, message):
    with pytest.raises(InputError, match=message):
        shape.build(NODES)


def test_slices_of_tpus_are_those_of_the_machine():
    devices = [dataclasses.replace(device, platform="tpu") for device in NODES]
    with pytest.raises(InputError, match=r"mesh.slices is 2, but the devices lie in 4 slice"):
        MeshShape(slices=2).build(devices)


@needs_eight
def test_the_platform_is_that_of_the_mesh():
    assert platform() == jax.default_backend()
    tpu = AbstractMesh((8, 1, 1, 1), AXES, abstract_device=AbstractDevice("TPU v5", 1, "tpu"))
    with jax.sharding.use_abstract_mesh(tpu):
        assert platform() == "tpu"
        assert jax.eval_shape(lambda: jnp.zeros(int(platform() == "tpu"))).shape == (1,)
    with jax.set_mesh(MeshShape().build()):
        assert platform() == "cpu"


@needs_eight
def test_parameters_are_placed_by_their_names():
    shardings = parameter_shardings(
        shapes(MODULE, **DUMMY), MeshShape(data=2, fsdp=2, tensor=2).build()
    )
    specs = jax.tree.map(lambda sharding: sharding.spec, shardings)
    layers = specs["decoder"]["layers"]
    assert specs["embedding"]["embedding"] == PartitionSpec("tensor", "fsdp")
    assert layers["attention"]["query"]["kernel"] == PartitionSpec(None, "fsdp", "tensor", None)
    assert layers["attention"]["query"]["bias"] == PartitionSpec(None, "tensor", None)
    assert layers["attention"]["out"]["kernel"] == PartitionSpec(None, "tensor", None, "fsdp")
    assert layers["mlp"]["up"]["kernel"] == PartitionSpec(None, "fsdp", "tensor")
    assert layers["mlp"]["down"]["kernel"] == PartitionSpec(None, "tensor", "fsdp")
    assert layers["mlp_norm"]["scale"] == PartitionSpec(None, None)


def refusal(axes, **changes):
    mesh = AbstractMesh(axes, AXES)
    with pytest.raises(InputError) as error:
        parameter_shardings(shapes(dataclasses.replace(CONFIG, **changes).build(), **DUMMY), mesh)
    return str(error.value)


@pytest.mark.parametrize(
    ("axes", "changes", "message"),
    [
        (
            (1, 1, 8, 1),
            {"vocab_size": 50257, "num_heads": 8},
            "model.vocab_size 50257 does not divide over mesh.tensor 8: vocab_size 50264 does, "
            "or mesh.tensor 1",
        ),
        (
            (1, 1, 8, 1),
            {"num_heads": 12, "hidden_size": 24},
            "model.num_heads 12 does not divide over mesh.tensor 8: num_heads 16 does, "
            "or mesh.tensor 4",
        ),
        (
            (1, 16, 1, 1),
            {},
            "model.hidden_size 8 does not divide over mesh.fsdp 16: hidden_size 16 does, "
            "or mesh.fsdp 8",
        ),
        (
            (1, 1, 4, 1),
            {"num_heads": 4, "intermediate_size": 10},
            "model.intermediate_size 10 does not divide over mesh.tensor 4: "
            "intermediate_size 12 does, or mesh.tensor 2",
        ),
    ],
    ids=["vocabulary", "heads", "hidden size", "intermediate size"],
)
def test_what_does_not_divide_is_refused(axes, changes, message):
    assert refusal(axes, **changes).startswith(message)


def test_the_refusal_names_the_parameter():
    assert refusal((1, 3, 1, 1)).endswith("(parameter decoder/layers/attention/key/kernel)")


@pytest.mark.parametrize(("tensor", "spec"), [(2, "tensor"), (4, None), (8, None)])
def test_few_key_value_heads_stay_whole(tensor, spec):
    """Eight query heads share two key/value heads: beyond two devices each has both."""
    module = MultiHeadAttention(num_heads=8, hidden_size=16, num_kv_heads=2)
    x = jnp.zeros((1, 1, 16))
    boxed = jax.eval_shape(
        lambda: module.init(jax.random.key(0), x, method=lambda m, x: m(x, m.keys_values(x)))
    )
    found = parameter_shardings(boxed["params"], AbstractMesh((1, 1, tensor, 1), AXES))
    assert found["key"]["kernel"].spec == PartitionSpec("fsdp", spec, None)
    assert found["query"]["kernel"].spec == PartitionSpec("fsdp", "tensor", None)


def test_lengths_divide_over_the_sequence():
    mesh = AbstractMesh((1, 1, 1, 4), AXES)
    check_lengths([8, 64], mesh)
    with pytest.raises(InputError, match="rows of 50 tokens do not divide over mesh.sequence 4"):
        check_lengths([8, 50], mesh)


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
        assert "'data', 'sequence', 'tensor'" in constraint(jnp.ones((6, 6, 4)))
        assert "None, 'sequence', 'tensor'" in constraint(jnp.ones((5, 6, 4)))
    with jax.set_mesh(MeshShape(data=1).build(jax.devices()[:1])):
        assert "sharding_constraint" not in constraint(x)


@pytest.mark.parametrize(
    ("topology", "shape", "sizes"),
    [
        ({"topology_name": "v5e:4x4"}, MeshShape(fsdp=4, tensor=2), (2, 4, 2, 1)),
        ({"topology_name": "v5p:4x4x4"}, MeshShape(fsdp=8, tensor=8), (1, 8, 8, 1)),
        ({"topology_name": "v5e:4x4", "num_slices": 2}, MeshShape(fsdp=16), (2, 16, 1, 1)),
    ],
    ids=["v5e", "v5p", "two slices"],
)
def test_meshes_of_machines_that_are_not_here(topology, shape, sizes, monkeypatch):
    """Also where a physical axis has to be split, as two of the four in v5e's 4 x 4."""
    pytest.importorskip("libtpu")
    monkeypatch.setenv("TPU_SKIP_MDS_QUERY", "1")
    monkeypatch.setenv("TPU_ACCELERATOR_TYPE", "v5p-128")
    monkeypatch.setenv("TPU_WORKER_HOSTNAMES", "localhost")
    devices = topologies.get_topology_desc(platform="tpu", **topology).devices
    mesh = shape.build(devices)
    assert tuple(mesh.shape.values()) == sizes
    with jax.set_mesh(mesh):
        assert platform() == "tpu"
    if "num_slices" in topology:
        slices = np.vectorize(lambda device: device.slice_index)(mesh.devices)
        assert (slices.reshape(2, -1) == [[0], [1]]).all()
