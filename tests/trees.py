"""Random parameters for any module, from its shapes alone: nothing is compiled."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np


def shapes(module, *args, **kwargs):
    """The boxed shapes of a module's parameters, still with their logical axis names."""
    return jax.eval_shape(lambda: module.init(jax.random.key(0), *args, **kwargs))["params"]


def random_params(module, *args, seed=0, **kwargs):
    """Float32 parameters in which nothing is trivial: no zero bias, no unit scale."""
    generator = np.random.default_rng(seed)

    def one(path, leaf):
        name = path[-1].key
        noise = generator.normal(size=leaf.shape)
        if name == "scale":
            value = 1 + 0.2 * noise
        elif name == "kernel":
            value = noise / math.sqrt(math.prod(leaf.shape) ** 0.5)
        else:
            value = 0.3 * noise
        return jnp.asarray(value, jnp.float32)

    return jax.tree_util.tree_map_with_path(one, nn.meta.unbox(shapes(module, *args, **kwargs)))


def assert_close(ours, theirs, **tolerances):
    """Two trees of the same structure and (nearly) the same numbers, with the culprit's path."""
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    leaves = jax.tree_util.tree_leaves_with_path(ours)
    for (path, one), other in zip(leaves, jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(one, other, err_msg=jax.tree_util.keystr(path), **tolerances)
