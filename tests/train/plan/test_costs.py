"""What a program does: loops with their trip counts, against closed forms and a text by hand."""

import functools

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec as P

from flaxformers_edu.flops import training_flops
from flaxformers_edu.sharding import MeshShape
from tests.train.plan.models import gpt, on_cpu
from train.plan.costs import Costs, program_costs
from train.plan.hlo import parse
from train.plan.program import compile_step

LOOP = """
HloModule by_hand

%body (state: (s32[], f32[4,8], f32[10,8,8])) -> (s32[], f32[4,8], f32[10,8,8]) {
  %state = (s32[], f32[4,8]{1,0}, f32[10,8,8]{2,1,0}) parameter(0)
  %i = s32[] get-tuple-element(%state), index=0
  %x = f32[4,8]{1,0} get-tuple-element(%state), index=1
  %w = f32[10,8,8]{2,1,0} get-tuple-element(%state), index=2
  %zero = s32[] constant(0)
  %step = s32[] constant(STEP)
  %next = s32[] add(%i, %step)
  %slice = f32[1,8,8]{2,1,0:S(1)} dynamic-slice(%w, %i, %zero, %zero), dynamic_slice_sizes={1,8,8}
  %matrix = f32[8,8]{1,0:S(1)} bitcast(%slice)
  %y = f32[4,8]{1,0} dot(%x, %matrix), lhs_contracting_dims={1}, rhs_contracting_dims={0}
  ROOT %out = (s32[], f32[4,8]{1,0}, f32[10,8,8]{2,1,0}) tuple(%next, %y, %w)
}

%condition (state: (s32[], f32[4,8], f32[10,8,8])) -> pred[] {
  %state = (s32[], f32[4,8]{1,0}, f32[10,8,8]{2,1,0}) parameter(0)
  %i = s32[] get-tuple-element(%state), index=0
  %end = s32[] constant(10)
  ROOT %less = pred[] compare(%i, %end), direction=LT
}

ENTRY %main (x: f32[4,8], w: f32[10,8,8]) -> f32[4,8] {
  %x = f32[4,8]{1,0} parameter(0)
  %w = f32[10,8,8]{2,1,0} parameter(1)
  %start = s32[] constant(START)
  %state = (s32[], f32[4,8]{1,0}, f32[10,8,8]{2,1,0}) tuple(%start, %x, %w)
  %loop = (s32[], f32[4,8]{1,0}, f32[10,8,8]{2,1,0}) while(%state), condition=%condition, body=%body
  ROOT %y = f32[4,8]{1,0} get-tuple-element(%loop), index=1
}
"""


def costs(text: str) -> Costs:
    return program_costs(parse(text), 1)


def loop(start=0, step=1) -> str:
    return LOOP.replace("START", str(start)).replace("STEP", str(step))


@pytest.mark.parametrize(("start", "step", "trips"), [(0, 1, 10), (3, 1, 7), (0, 2, 5), (3, 2, 4)])
def test_a_loop_by_hand(start, step, trips):
    found = costs(loop(start, step))
    assert found.flops == trips * 2 * 4 * 8 * 8
    # A turn: the counter (12 bytes, read twice and written), a slice of the weights to the chip's
    # own memory, x in and y out.
    assert found.hbm_bytes == trips * (3 * 4 + 0 + 2 * 4 * 8 * 4)
    assert found.unknown_loops == 0


def test_a_noted_trip_count_is_believed():
    noted = 'body=%body, backend_config={"known_trip_count":{"n":"5"}}'
    found = costs(loop().replace("body=%body", noted))
    assert found.flops == 5 * 2 * 4 * 8 * 8


def test_a_loop_of_unknown_length_is_counted_once_and_said():
    found = costs(loop().replace("direction=LT", "direction=NE"))
    assert (found.flops, found.unknown_loops) == (2 * 4 * 8 * 8, 1)


@functools.cache
def step_costs(**changes) -> tuple[float, float]:
    """FLOPs of the program, and of the model with the pairs that its mask hides."""
    step = on_cpu(gpt(**changes))
    shapes = {name: array.shape for name, array in step.batch.items()}
    closed_form = training_flops(step.experiment.model.forward_flops(shapes, masked=True))
    return costs(compile_step(step).hlo).flops, closed_form


@pytest.mark.parametrize("layout", ["scanned", "unrolled"])
def test_the_programs_flops_are_the_closed_form(layout):
    program, closed_form = step_costs(layout=layout)
    assert program == pytest.approx(closed_form, rel=0.02)


def test_scanned_and_unrolled_count_the_same():
    assert step_costs(layout="scanned")[0] == pytest.approx(step_costs(layout="unrolled")[0], 0.005)


def test_full_recomputation_repeats_the_layers_forward_pass():
    """All of it but a layer's last product, whose result no gradient needs."""
    step = on_cpu(gpt())
    shapes = {name: array.shape for name, array in step.batch.items()}
    parts = step.experiment.model.forward_flops(shapes, masked=True)
    tokens = step.rows * step.length
    output, last = 2 * tokens * 64 * 256, 3 * 2 * tokens * 256 * 64
    again = sum(parts.values()) - output - last
    program, closed_form = step_costs(layout="scanned", remat="full")
    assert program == pytest.approx(closed_form + again, rel=0.001)
    assert program > 1.2 * step_costs(layout="scanned")[0]


def test_collectives_of_a_known_program():
    """Each of 4 devices brings 2 x 128 float32 and gets their sum."""
    mesh = MeshShape(data=4).build(jax.devices()[:4])

    def summed(x):
        return jax.lax.psum(x, "data")

    sharded = jax.shard_map(summed, mesh=mesh, in_specs=P("data"), out_specs=P())
    text = jax.jit(sharded).lower(jnp.ones((8, 128))).compile().as_text()
    [found] = program_costs(parse(text), 4).collectives
    assert (found.kind, found.bytes, found.count) == ("all-reduce", 2 * 128 * 4, 1)
    assert found.groups == ((0, 1, 2, 3),)


def test_collectives_in_a_loop_count_each_turn():
    mesh = MeshShape(data=2, tensor=2).build(jax.devices()[:4])

    def six_times(x):
        return jax.lax.fori_loop(0, 6, lambda _, y: jax.lax.psum(y, "tensor") / 2, x)

    sharded = jax.shard_map(
        six_times, mesh=mesh, in_specs=P(None, "data"), out_specs=P(None, "data"), check_vma=False
    )
    text = jax.jit(sharded).lower(jnp.ones((3, 128))).compile().as_text()
    [found] = program_costs(parse(text), 4).collectives
    assert (found.kind, found.bytes, found.count) == ("all-reduce", 3 * 64 * 4, 6)
    assert found.groups == ((0, 1), (2, 3))


def test_a_sum_between_slices_is_left_to_the_hosts():
    """Two slices of four: each chip sends its part to the one at its place in the other slice."""
    text = """ENTRY %main (x: bf16[2,128]) -> bf16[2,128] {
  %x = bf16[2,128]{1,0} parameter(0)
  %token = token[] after-all()
  %sent = (bf16[2,128]{1,0}, u32[], token[]) send(%x, %token), channel_id=1, is_host_transfer=true,
 frontend_attributes={_xla_host_transfer_handler_name="xla_megascale_runtime",
_xla_megascale_target="{1,2}x{0:3}",_xla_megascale_transfer_type="ALL_REDUCE"}
  ROOT %y = bf16[2,128]{1,0} copy(%x)
}""".replace(",\n", ", ")
    [found] = program_costs(parse(text), 8).collectives
    assert (found.kind, found.bytes) == ("all-reduce", 2 * 128 * 2)
    assert found.groups == ((0, 4), (1, 5), (2, 6), (3, 7))
