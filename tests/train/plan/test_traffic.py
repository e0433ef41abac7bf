"""Bytes between HBM and the chip: slices for what is sliced, updates for what is updated."""

import pytest

from train.plan.hlo import parse
from train.plan.traffic import hbm_bytes

KIB = 1024
FUSED = """
%fused (w: f32[16,256], i: s32[], x: f32[256]) -> f32[256] {
  %w = f32[16,256]{1,0} parameter(0)
  %i = s32[] parameter(1)
  %x = f32[256]{0} parameter(2)
  %zero = s32[] constant(0)
  %slice = f32[1,256]{1,0} dynamic-slice(%w, %i, %zero), dynamic_slice_sizes={1,256}
  %row = f32[256]{0} bitcast(%slice)
  ROOT %sum = f32[256]{0} add(%row, %x)
}

%stored (w: f32[16,256], x: f32[1,256], i: s32[]) -> f32[16,256] {
  %w = f32[16,256]{1,0} parameter(0)
  %x = f32[1,256]{1,0} parameter(1)
  %i = s32[] parameter(2)
  %zero = s32[] constant(0)
  %twice = f32[1,256]{1,0} add(%x, %x)
  ROOT %new = f32[16,256]{1,0} dynamic-update-slice(%w, %twice, %i, %zero)
}
"""
MAIN = """
ENTRY %main (w: f32[16,256], i: s32[], x: f32[256], y: f32[1,256]) -> f32[256] {{
  %w = f32[16,256]{{1,0}} parameter(0)
  %i = s32[]{{:S(6)}} parameter(1)
  %x = f32[256]{{0}} parameter(2)
  %y = f32[1,256]{{1,0}} parameter(3)
  %near = f32[256]{{0:S(1)}} copy(%x)
  ROOT %r = {line}
}}
"""


@pytest.mark.parametrize(
    ("line", "kib"),
    [
        ("f32[256]{0} add(%x, %x)", 3),
        ("f32[256]{0:S(1)} add(%x, %near)", 1),  # only %x lies in HBM
        ("f32[1,256]{1,0} dynamic-slice(%w, %i, %i), dynamic_slice_sizes={1,256}", 2),
        ("f32[16,256]{1,0} dynamic-update-slice(%w, %y, %i, %i)", 2),
        ("f32[256]{0} fusion(%w, %i, %x), kind=kLoop, calls=%fused", 3),  # a row of %w, not all 16
        ("f32[16,256]{1,0} fusion(%w, %y, %i), kind=kLoop, calls=%stored", 2),
        ("(f32[256]{0:S(1)}, f32[256]{0}, u32[]{:S(2)}) copy-start(%x)", 1),
        ("(f32[256]{0}, f32[1024]{0}) all-gather-start(%x)", 1 + 4),
        ("f32[256]{0} all-reduce-start(%x)", 1 + 1),
        ("(f32[256]{0}, f32[256]{0}, u32[], u32[]) collective-permute-start(%x)", 1 + 1),
        ("f32[256]{0} bitcast(%x)", 0),
        ('f32[256]{0} custom-call(%x), custom_call_target="ConcatBitcast"', 0),
        ('f32[256]{0} custom-call(%x), custom_call_target="tpu_custom_call"', 2),
    ],
)
def test_bytes(line, kib):
    module = parse(FUSED + MAIN.format(line=line))
    assert hbm_bytes(module.entry.root, module.entry, module) == kib * KIB
