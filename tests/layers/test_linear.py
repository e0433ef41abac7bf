import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformers_edu.layers.linear import Linear
from tests.trees import random_params

SPLIT = Linear((4, 6), ("embed",), ("heads", "head_dim"))
JOIN = Linear((32,), ("heads", "head_dim"), ("embed",))


@pytest.mark.parametrize(
    ("module", "x_shape", "equation", "kernel_shape"),
    [
        (SPLIT, (2, 3, 32), "btd,dhk->bthk", (32, 4, 6)),
        (JOIN, (2, 3, 4, 6), "bthk,hkd->btd", (4, 6, 32)),
    ],
    ids=["split", "join"],
)
def test_values_axes_and_initialisation(module, x_shape, equation, kernel_shape):
    x = jax.random.normal(jax.random.key(0), x_shape)
    boxed = jax.jit(module.init)(jax.random.key(1), x)["params"]
    assert boxed["kernel"].names == (*module.input_axes, *module.output_axes)
    assert boxed["bias"].names == tuple(module.output_axes)
    kernel = boxed["kernel"].value
    assert kernel.shape == kernel_shape
    assert not boxed["bias"].value.any()

    # Glorot: the fans are those of the whole 32 x 24 matrix, whichever way it is split.
    bound = np.sqrt(6 / (32 + 24))
    assert 0.97 * bound < np.abs(kernel).max() <= bound
    assert np.std(kernel) == pytest.approx(bound / np.sqrt(3), rel=0.05)

    bias = jax.random.normal(jax.random.key(2), boxed["bias"].value.shape)
    y = module.apply({"params": {"kernel": kernel, "bias": bias}}, x)
    np.testing.assert_allclose(
        y, np.einsum(equation, x, kernel) + np.asarray(bias), rtol=1e-5, atol=1e-5
    )


def test_without_bias_and_in_bfloat16():
    module = Linear((3,), ("embed",), ("mlp",), use_bias=False, dtype=jnp.bfloat16)
    x = jnp.ones((2, 5))
    params = module.init(jax.random.key(0), x)["params"]
    assert set(params) == {"kernel"}
    assert params["kernel"].value.dtype == jnp.float32
    assert module.apply({"params": {"kernel": params["kernel"].value}}, x).dtype == jnp.bfloat16


def test_gradients_of_split_axes_copy_nothing():
    """XLA's gradients for CPUs would begin with a transposed copy for each axis that is apart."""
    x = jnp.ones((2, 3, 32))
    split = random_params(SPLIT, x)
    joined = random_params(JOIN, jnp.ones((2, 3, 4, 6)))

    def loss(split, joined, x):
        x = jnp.sin(SPLIT.apply({"params": split}, x))
        return jnp.sin(JOIN.apply({"params": joined}, x)).sum()

    program = jax.jit(jax.grad(loss, (0, 1, 2))).lower(split, joined, x).compile().as_text()
    assert "dot" in program
    assert " transpose(" not in program
    assert " copy(" not in program
