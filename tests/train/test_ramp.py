import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.ramp import Ramp


def test_without_a_ramp_a_batch_is_one_unit():
    ramp = Ramp()
    assert ramp.multiples == (1,)
    assert [ramp.multiple_at(step) for step in (0, 5)] == [1, 1]
    assert ramp.units_before(7) == 7
    assert ramp.parts(accumulation=6, multiple=1) == 6


def test_every_size_lasts_for_as_many_steps():
    ramp = Ramp(full=8, steps=6)
    assert ramp.multiples == (1, 2, 4, 8)
    assert [ramp.multiple_at(step) for step in range(8)] == [1, 1, 2, 2, 4, 4, 8, 8]


@given(st.integers(1, 6), st.integers(0, 40), st.integers(0, 60))
def test_units_are_those_of_the_steps_before(doublings, more, step):
    ramp = Ramp(full=2**doublings, steps=doublings + more)
    assert ramp.units_before(step) == sum(ramp.multiple_at(s) for s in range(step))


@given(st.integers(1, 100))
def test_the_batch_is_linear_in_the_tokens_seen(steps_a_size):
    """GPT-3's straight line, touched from below wherever the batch doubles."""
    ramp = Ramp(full=64, steps=6 * steps_a_size)
    end = ramp.units_before(ramp.steps)
    for size in range(6):
        step = size * steps_a_size
        line = 1 + (ramp.full - 1) * ramp.units_before(step) / end
        assert ramp.multiple_at(step) == pytest.approx(line)


@pytest.mark.parametrize(
    ("accumulation", "parts"), [(16, [2, 4, 8, 16]), (8, [1, 2, 4, 8]), (2, [1, 1, 1, 2])]
)
def test_parts_keep_their_shape(accumulation, parts):
    ramp = Ramp(full=8, steps=3)
    assert [ramp.parts(accumulation, multiple) for multiple in ramp.multiples] == parts
