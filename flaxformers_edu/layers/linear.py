"""Linear maps over named axes, and how their weights begin."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from flaxformers_edu.sharding import platform

Initializer = Callable[..., Any]

xavier: Initializer = jax.nn.initializers.glorot_uniform()
"""Glorot & Bengio 2010, uniform: ±√(6 / (fan in + fan out)), fans over all axes of each side."""


def partitioned_param(
    module: nn.Module, name: str, init: Initializer, axes: Sequence[str], shape: Sequence[int]
) -> Array:
    """A float32 parameter of `module` whose axes carry logical names, for `sharding.py` to read."""
    boxed_init: Any = nn.with_logical_partitioning(init, tuple(axes))
    return module.param(name, boxed_init, tuple(shape))


def on_one_cpu() -> bool:
    """Whether the program is for a single CPU: not for an accelerator, and not for a mesh."""
    return platform() == "cpu" and jax.sharding.get_abstract_mesh().size <= 1


def affine(x: Array, kernel: Array, bias: Array | None = None, num_inputs: int = 1) -> Array:
    """The map x W + b over the last `num_inputs` axes of x, the first ones of W.

    On a single CPU it is a product of two matrices: axes are joined before it and parted after it,
    which costs nothing there. With the axes apart XLA's gradients for CPUs begin with copies that
    are transposed number by number, a quarter of the time of a GPT-2's step. Elsewhere axes may be
    split over a mesh or lie in tiles, and the compiler is left to choose.
    """
    leading, inputs = x.shape[: x.ndim - num_inputs], x.shape[x.ndim - num_inputs :]
    outputs = kernel.shape[num_inputs:]
    if not on_one_cpu():
        over = (range(len(leading), x.ndim), range(num_inputs))
        y = jax.lax.dot_general(x, kernel, (over, ((), ())))
        return y if bias is None else y + bias.reshape((1,) * len(leading) + outputs)
    width = math.prod(inputs)
    y = x.reshape(-1, width) @ kernel.reshape(width, -1)
    y = y if bias is None else y + bias.reshape(1, -1)
    return y.reshape(*leading, *outputs)


class Linear(nn.Module):
    """y = x W + b, contracting the last `len(input_axes)` dimensions of x.

    `Linear((8, 64), ("embed",), ("heads", "head_dim"))` splits into heads with a kernel of shape
    [D, H, K]; `Linear((512,), ("heads", "head_dim"), ("embed",))` joins them again.
    Parameters: `kernel` and, with `use_bias`, `bias`, with the axes as their logical names.
    """

    features: Sequence[int]
    input_axes: Sequence[str]
    output_axes: Sequence[str]
    use_bias: bool = True
    kernel_init: Initializer = xavier
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        num_inputs = len(self.input_axes)
        input_shape = x.shape[x.ndim - num_inputs :]
        output_shape = tuple(self.features)

        def init_kernel(key: Array, shape: Sequence[int], dtype: Any = jnp.float32) -> Array:
            # Fans are those of the matrix, whatever the axes it is split into.
            matrix = (math.prod(input_shape), math.prod(output_shape))
            return self.kernel_init(key, matrix, dtype).reshape(shape)

        axes = (*self.input_axes, *self.output_axes)
        kernel = partitioned_param(self, "kernel", init_kernel, axes, (*input_shape, *output_shape))
        bias = None
        if self.use_bias:
            zeros = nn.initializers.zeros
            bias = partitioned_param(self, "bias", zeros, self.output_axes, output_shape)
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
        return affine(x, kernel, bias, num_inputs)
