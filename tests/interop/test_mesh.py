"""Weights straight into their shards, with no more of them on the host than one leaf."""

import math
import tracemalloc

import jax
import pytest
from jax.sharding import PartitionSpec

import flaxformers_edu as ff
from flaxformers_edu.errors import InputError
from flaxformers_edu.interop import read_weights
from flaxformers_edu.interop.matching import match_tree
from flaxformers_edu.interop.placing import place_leaf
from flaxformers_edu.interop.tables import BERT
from flaxformers_edu.sharding import MeshShape, parameter_shardings
from tests.interop.folders import written
from tests.trees import assert_close, shapes

EVEN = dict(vocab_size=24, intermediate_size=12, hidden_size=8, num_heads=2)


@pytest.mark.parametrize("layout", ["scanned", "unrolled"])
def test_shards_hold_what_one_device_would(layout, tmp_path):
    made = written(tmp_path / "model", "bert", "masked_lm", **EVEN)
    mesh = MeshShape(data=2, fsdp=2, tensor=2).build()
    loaded = ff.from_pretrained(tmp_path / "model", "masked_lm", mesh=mesh, layout=layout)
    alone = ff.from_pretrained(tmp_path / "model", "masked_lm", layout=layout)
    assert_close(loaded.params, alone.params, atol=0)
    if layout == "scanned":
        assert_close(loaded.params, made.params, atol=0)
        up = loaded.params["encoder"]["layers"]["mlp"]["up"]["kernel"]
        assert up.sharding.spec == PartitionSpec(None, "fsdp", "tensor")
        assert up.addressable_shards[0].data.shape == (3, 4, 6)


def test_new_heads_are_sharded_too(tmp_path):
    written(tmp_path / "model", "bert", "masked_lm", **EVEN)
    mesh = MeshShape(data=2, fsdp=4).build()
    loaded = ff.from_pretrained(tmp_path / "model", "sequence_classification", mesh=mesh)
    alone = ff.from_pretrained(tmp_path / "model", "sequence_classification")
    assert loaded.initialised == ("classifier", "pooler")
    assert loaded.params["pooler"]["kernel"].sharding.spec == PartitionSpec("fsdp", None)
    assert_close(loaded.params, alone.params, atol=1e-7)


def test_a_mesh_that_does_not_divide_is_refused_before_anything_is_read(tmp_path):
    written(tmp_path / "model")
    with pytest.raises(InputError, match="model.vocab_size 21 does not divide over mesh.tensor 8"):
        ff.from_pretrained(tmp_path / "model", mesh=MeshShape(tensor=8, data=1).build())


@pytest.mark.parametrize("sizes", [None, dict(data=4, fsdp=2), dict(data=1, fsdp=8)])
def test_the_host_holds_no_more_than_the_largest_leaf(sizes, tmp_path):
    """What numpy holds at the peak, beyond what stays as shards, is below 1.3 times that leaf."""
    config = dict(vocab_size=2048, hidden_size=256, intermediate_size=512, num_heads=2)
    made = written(tmp_path / "model", "bert", "base", **config)
    boxed = shapes(made.model, **made.model.dummy_inputs())
    mesh = MeshShape(**sizes).build() if sizes else None
    shardings = parameter_shardings(boxed, mesh) if mesh else None
    leaves = jax.tree.leaves(shardings) if shardings else [None] * 100
    largest = max(4 * math.prod(leaf.shape) for leaf in jax.tree.leaves(made.params))
    total = sum(4 * math.prod(leaf.shape) for leaf in jax.tree.leaves(made.params))
    assert total > 3 * largest  # or holding everything would pass

    tensors = read_weights(tmp_path / "model")
    matches = match_tree(boxed, BERT, "base")
    tracemalloc.start()
    try:
        placed = [place_leaf(m, tensors, s) for m, s in zip(matches, leaves, strict=False)]
        jax.block_until_ready(placed)
        stays, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(placed) == len(matches)
    assert peak - stays < 1.3 * largest
