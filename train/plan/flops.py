"""FLOPs of the products in a program: dots, convolutions, and kernels that hide them.

The compiler for TPU writes every matrix product as a convolution, batches and heads as windows
over padded or dilated dimensions, of which only the positions that hold data cost anything.
"""

import math
import re

import numpy as np

from train.plan.hlo import Computation, Instruction, Shape

PRODUCTS = ("dot", "convolution")


def product_flops(instruction: Instruction, computation: Computation) -> int:
    """2 · multiply-adds of a dot or a convolution."""
    left, right = (computation.instructions[name].shapes[0] for name in instruction.operands[:2])
    if instruction.opcode == "dot":
        contracted = _integers(instruction.attribute(r"lhs_contracting_dims=\{([\d,]*)\}"))
        return (
            2 * math.prod(instruction.shapes[0].dims) * math.prod(left.dims[d] for d in contracted)
        )
    return _convolution_flops(instruction, left, right)


def _convolution_flops(instruction: Instruction, left: Shape, right: Shape) -> int:
    labels = instruction.attribute(r"dim_labels=([\w?]+_[\w?]+->[\w?]+)") or ""
    left_labels, right_labels, out_labels = re.split(r"_|->", labels)
    window = instruction.attribute(r"window=\{([^}]*)\}") or ""
    out = instruction.shapes[0]
    positions = 1
    for dim in (d for d in out_labels if d.isdigit()):
        positions *= _filled_positions(
            size_in=left.dims[left_labels.index(dim)],
            size_window=right.dims[right_labels.index(dim)],
            size_out=out.dims[out_labels.index(dim)],
            **{key: _window(window, key, int(dim)) for key in _DEFAULTS},
        )
    batch_groups = int(instruction.attribute(r"batch_group_count=(\d+)") or 1)
    batch = out.dims[out_labels.index("b")]
    features = out.dims[out_labels.index("f")] * right.dims[right_labels.index("i")]
    return 2 * batch * features * positions // batch_groups


_DEFAULTS = {"stride": "1", "pad": "0_0", "lhs_dilate": "1", "rhs_dilate": "1"}


def _window(window: str, key: str, dim: int) -> int:
    """A field of `window={size=1x8 pad=0_0x7_7}` in one dimension; of the padding, its start."""
    found = re.search(rf"(?:^| ){key}=(\S+)", window)
    value = found[1].split("x")[dim] if found else _DEFAULTS[key]
    return int(value.partition("_")[0])


def _filled_positions(
    *,
    size_in: int,
    size_window: int,
    size_out: int,
    stride: int,
    pad: int,
    lhs_dilate: int,
    rhs_dilate: int,
) -> int:
    """Pairs of an output and a window position that meet data: no padding, no hole between."""
    if size_window == 1 and pad == 0 and lhs_dilate == 1:
        return size_out
    out, window = np.arange(size_out)[:, None], np.arange(size_window)[None, :]
    place = out * stride + window * rhs_dilate - pad
    filled = (place >= 0) & (place < (size_in - 1) * lhs_dilate + 1) & (place % lhs_dilate == 0)
    return int(filled.sum())


def _integers(text: str | None) -> tuple[int, ...]:
    return tuple(int(n) for n in (text or "").split(",") if n)
