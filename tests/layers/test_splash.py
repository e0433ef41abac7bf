"""The splash kernel on meshes, in Pallas' interpreter, against `reference` without any mesh.

Dims: B batch, T queries, S keys, H query heads, G key/value heads, K head_dim.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformers_edu.layers.attention import dot_product_attention
from flaxformers_edu.layers.masks import Mask
from flaxformers_edu.sharding import MeshShape, shard

B, T, H, G, K = 8, 200, 4, 2, 8
# Four parts of whole blocks are 512 queries: two parts are padding, beyond the last key's window.
LENGTHS = np.arange(B) * 28 + 4
SEGMENTS = np.where(np.arange(T) < LENGTHS[:, None], 1 + np.arange(T) // 70, 0).astype(np.int32)
MASKS = {
    "causal, left padding": Mask(causal=True, key_mask_BS=np.arange(T) >= LENGTHS[::-1, None]),
    "window, packed": Mask(
        causal=True, window=90, query_segments_BT=SEGMENTS, key_segments_BS=SEGMENTS
    ),
}
NAMES = ("batch", "length", "heads", "head_dim")


def tensors(rows=B, length=T, heads=H):
    generator = np.random.default_rng(0)
    shapes = [(rows, length, heads, K), *2 * [(rows, length, G, K)], (rows, length, heads, K)]
    return [jnp.asarray(generator.normal(size=shape), jnp.float32) for shape in shapes]


@partial(jax.jit, static_argnames="implementation")
def forward_and_backward(q, k, v, d_out, mask, implementation):
    def attend(q, k, v):
        return dot_product_attention(shard(q, NAMES), k, v, mask, implementation=implementation)

    out, pull = jax.vjp(attend, q, k, v)
    return out, pull(d_out)


def check(shape, mask, *values):
    mask = jax.tree.map(jnp.asarray, mask)
    expected = forward_and_backward(*values, mask, "reference")
    with jax.set_mesh(shape.build()):
        found = forward_and_backward(*values, mask, "splash")
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=5e-5)


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize(
    "shape",
    [MeshShape(data=8), MeshShape(data=2, tensor=4), MeshShape(data=2, sequence=4)],
    ids=["data 8", "data 2 x tensor 4", "data 2 x sequence 4"],
)
def test_parts_of_a_mesh_equal_the_whole(shape, name):
    check(shape, MASKS[name], *tensors())


@pytest.mark.parametrize(
    ("shape", "part"),
    [
        (MeshShape(data=8), (1, 4, 256, K)),
        (MeshShape(data=2, tensor=4), (4, 1, 256, K)),
        (MeshShape(data=2, sequence=4), (4, 4, 128, K)),
    ],
    ids=["data 8", "data 2 x tensor 4", "data 2 x sequence 4"],
)
def test_each_device_computes_its_part(shape, part):
    mask = Mask(causal=True)
    with jax.set_mesh(shape.build()):
        jaxpr = jax.make_jaxpr(partial(forward_and_backward, implementation="splash"))(
            *tensors(), mask
        )
    (outer,) = jaxpr.eqns
    inner = next(e for e in outer.params["jaxpr"].eqns if e.primitive.name == "shard_map")
    assert part in {v.aval.shape for v in inner.params["jaxpr"].invars}


def test_what_does_not_divide_is_computed_whole():
    """Three rows over two devices, two heads over four."""
    mask = Mask(causal=True, key_lengths_B=np.array([130, 7, 64]))
    check(MeshShape(data=2, tensor=4), mask, *tensors(rows=3, length=130, heads=2))


@pytest.mark.parametrize("mask", [Mask(), Mask(window=20), Mask(window=600)], ids=str)
def test_parts_of_the_queries_without_causality(mask):
    """The kernel has no words for parts of a mask without any partly filled block."""
    check(MeshShape(data=1, sequence=8), mask, *tensors(rows=1, length=40))
