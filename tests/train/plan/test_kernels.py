"""Products that Pallas kernels hide."""

import pytest

from train.plan.hlo import parse
from train.plan.kernels import kernel_of

OPERANDS = (
    "s8[1,4,4]{2,1,0}, bf16[2,8,512,64]{3,2,1,0}, bf16[2,8,512,64]{3,2,1,0}, bf16[2,8,512,64]"
)
ONE_PRODUCT = 2 * 2 * 8 * 512 * 512 * 64


def kernel(name: str, more: str = "", operands: str = OPERANDS, target: str = "tpu_custom_call"):
    text = f"""ENTRY %main (x: f32[2]) -> f32[2] {{
  %x = f32[2]{{0}} parameter(0)
  ROOT %{name} = f32[2]{{0}} custom-call(%x), custom_call_target="{target}", """
    text += f"operand_layout_constraints={{{operands}{{3,2,1,0}}}}, {more}\n}}"
    return kernel_of(parse(text).entry.root)


@pytest.mark.parametrize(("part", "products"), [("fwd", 2), ("dq", 3), ("dkv", 4)])
def test_splash_by_its_name_and_shapes(part, products):
    found = kernel(f"splash_mha_{part}_no_residuals.12")
    assert (found.name, found.flops) == (f"splash_mha_{part}_no_residuals", products * ONE_PRODUCT)


def test_a_causal_mask_leaves_the_blocks_on_and_below_the_diagonal():
    """4 blocks of 128 a side: 10 of 16. The queries' numbers are one more operand."""
    block = r'attributes={note={"xprof_metadata":"{\"block_kv\": 128, \"block_q\": 128}"}}'
    numbers = OPERANDS + "{3,2,1,0}, s32[512,128]{1,0}, bf16[2,8,512,64]"
    assert kernel("splash_mha_fwd", block, numbers).flops == 2 * ONE_PRODUCT * 10 // 16


def test_the_fused_backward_pass_has_five_products():
    fused = r'attributes={note={"xprof_metadata":"{\"use_fused_bwd_kernel\": true}"}}'
    assert kernel("splash_mha_dkv", fused).flops == 5 * ONE_PRODUCT


def test_other_kernels_are_believed_or_unknown():
    estimate = 'backend_config={"cost_estimate":{"flops":"123","bytes_accessed":"9"}}'
    assert kernel("ragged_dot.3", estimate).flops == 123
    assert kernel("ragged_dot.3").flops is None


def test_notes_to_the_compiler_are_no_kernels():
    assert kernel("hint.1", target="AllocateBuffer") is None
