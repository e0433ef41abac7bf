"""FLOPs of dots and of the convolutions that TPU's compiler writes for them."""

import pytest

from train.plan.costs import program_costs
from train.plan.hlo import parse


def flops(left: str, right: str, result: str, product: str) -> float:
    text = f"""ENTRY %main (l: {left}, r: {right}) -> {result} {{
  %l = {left} parameter(0)
  %r = {right} parameter(1)
  ROOT %p = {result} {product}
}}"""
    return program_costs(parse(text), 1).flops


def test_a_dot_with_batch_dimensions():
    attributes = (
        "lhs_batch_dims={0}, lhs_contracting_dims={2}, rhs_batch_dims={0}, rhs_contracting_dims={1}"
    )
    found = flops("f32[5,4,8]", "f32[5,8,3]", "f32[5,4,3]", f"dot(%l, %r), {attributes}")
    assert found == 2 * 5 * 4 * 8 * 3


@pytest.mark.parametrize(
    ("left", "right", "result", "attributes", "expected"),
    [
        # A plain convolution of 3 over 10 positions without padding: 8 outputs.
        (
            "f32[2,10,4]",
            "f32[3,4,5]",
            "f32[2,8,5]",
            "window={size=3}, dim_labels=b0f_0io->b0f",
            2 * 2 * 8 * 3 * 4 * 5,
        ),
        # The same with one of padding on both sides: 10 outputs, of which two meet a hole.
        (
            "f32[2,10,4]",
            "f32[3,4,5]",
            "f32[2,10,5]",
            "window={size=3 pad=1_1}, dim_labels=b0f_0io->b0f",
            2 * 2 * 28 * 4 * 5,
        ),
        # Batched products, [12, 8] of [256, 64] x [64, 256]: batch and heads as dilated windows.
        (
            "f32[12,8,256,64]",
            "f32[12,8,64,256]",
            "f32[12,8,256,256]",
            "window={size=12x8 stride=11x7 lhs_dilate=12x8}, dim_labels=01bf_01io->01bf",
            2 * 12 * 8 * 256 * 64 * 256,
        ),
    ],
)
def test_convolutions(left, right, result, attributes, expected):
    assert flops(left, right, result, f"convolution(%l, %r), {attributes}") == expected


def test_heads_as_a_window_over_padding():
    """[12, 256, 64] x [64, 8, 16] as TPU has it: one position of the window holds data."""
    found = flops(
        "bf16[12,256,64,1]",
        "bf16[64,8,16,1]",
        "bf16[12,256,8,16]",
        "convolution(%l, %r), window={size=1x8 pad=0_0x7_7 rhs_reversal=0x1}, "
        "dim_labels=0bf1_i1o0->0b1f",
    )
    assert found == 2 * 12 * 256 * 64 * 8 * 16
