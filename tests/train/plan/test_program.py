"""The step as `run` would compile it: its shapes, its memory, and what is refused before."""

import dataclasses

import jax
import pytest

from flaxformers_edu.errors import InputError
from flaxformers_edu.sharding import MeshShape
from tests.train.plan.models import gpt, on_cpu
from train.pipeline import Batching
from train.plan.program import compile_step, device_bytes, needed_bytes, prepare_step
from train.state import count

GIB = 2**30


def test_parameter_bytes_are_count_times_four_over_the_shards():
    whole = on_cpu(gpt())
    split = on_cpu(gpt(MeshShape(data=1, fsdp=2, tensor=2)))
    assert device_bytes(whole.state.params) == 4 * count(whole.state.params)
    # Matrices and the table of tokens are split in four; vectors in two, or not at all.
    vectors = sum(leaf.size for leaf in jax.tree.leaves(whole.state.params) if leaf.ndim < 2)
    parts = device_bytes(split.state.params)
    assert count(whole.state.params) <= parts <= 4 * count(whole.state.params) / 4 * 1.1 + vectors


def test_the_batch_is_that_of_the_longest_bucket():
    step = on_cpu(gpt())
    assert (step.rows, step.length) == (8, 64)
    assert set(step.batch) == {"input_ids", "attention_mask", "labels"}


@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_batch_that_grows_is_planned_at_its_full_size(accumulation):
    """1,000 tokens are 15 rows, of which 14 divide; two units of 500 are 7 each, of which 6 do."""
    batching = Batching(tokens_per_batch=1000, max_source_length=64, buckets=(64,))
    grows = dataclasses.replace(batching, ramp_start_tokens=500, ramp_steps=10)
    whole = dataclasses.replace(gpt(MeshShape(data=2)), batching=batching)
    ramped = dataclasses.replace(whole, batching=grows, accumulation=accumulation)
    assert (on_cpu(whole).rows, on_cpu(ramped).rows) == (14, 12)


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(InputError, match="does not multiply to 3 devices"):
        prepare_step(gpt(MeshShape(data=2)), jax.devices()[:3])
    with pytest.raises(InputError, match="tokens_per_batch=512 is too small"):
        on_cpu(dataclasses.replace(gpt(), accumulation=16))
    with pytest.raises(InputError, match="num_heads 4 does not divide over mesh.tensor 8"):
        on_cpu(gpt(MeshShape(data=1, tensor=8)))


def test_arguments_are_the_state_and_the_batch():
    step = on_cpu(gpt())
    program = compile_step(step)
    assert program.memory.arguments == device_bytes((step.state, step.batch))
    assert program.needed == program.memory.peak > program.memory.arguments


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("... Used 31.25G of 15.75G hbm. Exceeded ...", (31.25 * GIB, 15.75 * GIB)),
        ("the total memory required for HLO temporaries (30.5G) exceeds ...", (31.5 * GIB, None)),
        ("INTERNAL: something else", None),
    ],
)
def test_the_need_is_read_from_the_compilers_refusal(message, expected):
    assert needed_bytes(message, arguments=GIB) == expected
