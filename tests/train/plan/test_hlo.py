"""The reader of HLO: types, operands, attributes, notes over several lines."""

import pytest

from train.plan.hlo import Shape, parse, shapes

TEXT = """
HloModule jit_f, entry_computation_layout={()->f32[]}

%inner (p: f32[2,3]) -> f32[2,3] {
  %p = f32[2,3]{1,0:T(8,128)S(1)} parameter(0)
  ROOT %double.1 = f32[2,3]{1,0} add(%p, %p)
}

ENTRY %main.7 (a: f32[2,3], b: (s32[], bf16[4])) -> (f32[2,3], s32[]) {
  %a = f32[2,3]{1,0:T(8,128)(2,1)} parameter(0)
  %b = (s32[]{:T(128)}, /*index=1*/bf16[4]{0}) parameter(1)
  %n = s32[] get-tuple-element(%b), index=0, metadata={op_name="jit(f)/while (odd) name"}
  %kernel = f32[2,3]{1,0} custom-call(%a), custom_call_target="tpu_custom_call", attributes={note={
"details":"{\\"block\\": 128}"
}}, metadata={op_name="a/b"}
  %fused = f32[2,3]{1,0} fusion(%kernel), kind=kLoop, calls=%inner
  ROOT %out = (f32[2,3]{1,0}, s32[]) tuple(%fused, %n)
}
"""


def test_reads_computations_and_the_entry():
    module = parse(TEXT)
    assert list(module.computations) == ["inner", "main.7"]
    assert module.entry.name == "main.7"
    assert module.entry.root.name == "out"
    assert [i.name for i in module.entry.users["a"]] == ["kernel"]
    assert {n: p.name for n, p in module.entry.parameters.items()} == {0: "a", 1: "b"}


def test_reads_an_instruction():
    module = parse(TEXT)
    fused = module.entry.instructions["fused"]
    assert (fused.opcode, fused.operands, fused.called) == ("fusion", ("kernel",), ("inner",))
    assert fused.shapes == (Shape("f32", (2, 3)),)
    number = module.entry.instructions["n"]
    assert number.attribute(r'op_name="([^"]*)"') == "jit(f)/while (odd) name"


def test_notes_over_several_lines_belong_to_their_instruction():
    kernel = parse(TEXT).entry.instructions["kernel"]
    assert kernel.attribute(r'op_name="([^"]*)"') == "a/b"
    assert "block" in kernel.attributes


def test_types():
    found = shapes("(bf16[4,8]{1,0:T(8,128)(2,1)S(1)}, (f32[], pred[3]{0}), s4[6]{0:S(5)})")
    assert found == (
        Shape("bf16", (4, 8), 1),
        Shape("f32", ()),
        Shape("pred", (3,)),
        Shape("s4", (6,), 5),
    )
    assert [shape.bytes for shape in found] == [64, 4, 3, 3]
    assert [shape.hbm_bytes for shape in found] == [0, 4, 3, 0]


def test_what_is_no_program_is_refused():
    with pytest.raises(ValueError, match="no ENTRY"):
        parse("HloModule empty")
