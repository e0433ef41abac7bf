"""Draws of demonstrations."""

import pytest

from flaxformers_edu.errors import InputError
from flaxformers_edu.prompting import Cloze
from flaxformers_edu.prompting.demonstrations import Demonstrations

TASK = Cloze(name="t", prompt="{x}", answer="{y}")
POOL = [{"x": i, "y": i % 3} for i in range(20)]


def test_drawn_by_seed_without_the_example_itself():
    drawn = Demonstrations(TASK, POOL, seed=4)
    for number, example in enumerate(POOL):
        shown = drawn.draw(example, number, shots=19)
        assert example not in shown and len({one["x"] for one in shown}) == 19
    first = drawn.draw(POOL[0], 0, shots=5)
    assert first == Demonstrations(TASK, POOL, seed=4).draw(POOL[0], 0, shots=5)
    assert first != Demonstrations(TASK, POOL, seed=5).draw(POOL[0], 0, shots=5)
    assert first != drawn.draw(POOL[1], 1, shots=5)
    assert drawn.draw(POOL[0], 0, shots=2) == first[:2]
    assert drawn.draw(POOL[0], 0, shots=0) == []


def test_within_a_group():
    task = Cloze(name="t", prompt="{x}", answer="{y}", group="y")
    drawn = Demonstrations(task, POOL, seed=0)
    assert {one["y"] for one in drawn.draw(POOL[4], 4, shots=5)} == {1}
    with pytest.raises(InputError, match=r"7 demonstrations cannot be drawn from 6 of y '1'"):
        drawn.draw(POOL[4], 4, shots=7)
    with pytest.raises(InputError, match="no field 'y'"):
        drawn.draw({"x": 1}, 0, shots=1)


def test_more_than_there_are():
    with pytest.raises(
        InputError, match="20 demonstrations cannot be drawn from 19; ask for fewer"
    ):
        Demonstrations(TASK, POOL, seed=0).draw(POOL[0], 0, shots=20)
