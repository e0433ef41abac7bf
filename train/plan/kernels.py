"""Pallas kernels in a program: their products are hidden in Mosaic code, so they are counted apart.

Splash attention has no cost estimate; by its name a kernel does so many products of [queries, keys,
head_dim], by its operands of such a size (Dao et al. 2022, algorithms 1 and 4: 2 forward; backward
5, of which splash does two again, because queries' and keys' gradients are separate kernels).
"""

import math
import re
from dataclasses import dataclass

from train.plan.hlo import Instruction, shapes
from train.plan.traffic import KERNEL

SPLASH_PRODUCTS = {"fwd": 2, "dq": 3, "dkv": 4}


@dataclass(frozen=True)
class Kernel:
    """A kernel, and how often it runs."""

    name: str
    flops: int | None
    """Of one run; None where neither an estimate nor a formula is known."""
    count: float = 1


def kernel_of(instruction: Instruction) -> Kernel | None:
    """The Pallas kernel behind a custom call, if it is one."""
    if f'"{KERNEL}"' not in instruction.attributes:
        return None
    name = re.sub(r"[.\d]+$", "", instruction.name)
    estimate = instruction.attribute(r'"flops":"?(\d+)')
    if splash := re.match(r"splash_m[hq]a_(fwd|dq|dkv)", name):
        fused = '\\"use_fused_bwd_kernel\\": true' in instruction.attributes
        return Kernel(name, _splash_flops(instruction, splash[1], fused))
    return Kernel(name, int(estimate) if estimate else None)


def _splash_flops(instruction: Instruction, part: str, fused: bool) -> int | None:
    """Products x 2 · rows · heads · queries · keys · head_dim, of which a causal mask keeps half.

    A causal mask is computed from the queries' numbers: an operand of rank 2. Blocks on the
    diagonal are computed whole: with n blocks a side, (n + 1) / 2n of all.
    """
    listed = instruction.attribute(r"operand_layout_constraints=\{(.*?\})\}") or ""
    operands = shapes(listed)
    arrays = [
        shape for shape in operands if shape.dtype in ("bf16", "f32", "f16") if shape.dims[2:]
    ]
    if len(arrays) < 2:
        return None
    query, key = arrays[0].dims, arrays[1].dims
    products = 5 if fused and part == "dkv" else SPLASH_PRODUCTS[part]
    full = products * 2 * math.prod(query) * key[-2]
    causal = any(shape.dtype == "s32" and len(shape.dims) == 2 for shape in operands)
    block = int(instruction.attribute(r'\\"block_kv\\": (\d+)') or 128)
    blocks = max(1, query[-2] // block)
    return full * (blocks + 1) // (2 * blocks) if causal else full
