"""When NT-ASGD begins to average: algorithm 1 of Merity et al. 2017, by hand."""

import pytest

from train.averaging import is_triggered


@pytest.mark.parametrize(
    ("losses", "interval", "triggered"),
    [
        ([5, 4, 3, 2, 1], 1, False),
        ([5, 4, 4.5], 1, False),  # worse than the last, better than the best before that
        ([5, 4, 4.5, 4.2], 1, True),
        ([5, 6, 7], 1, True),
        ([5, 6, 7], 2, False),
        ([5, 6, 7, 8], 2, True),
        ([5, 5, 5, 5], 1, False),  # equal is not worse
        ([5, 6, 7, 1], 1, True),  # once is for ever
        ([5, 4, float("nan")], 1, True),
        ([], 1, False),
    ],
)
def test_when(losses, interval, triggered):
    assert is_triggered(losses, interval, higher_is_better=False) is triggered
    assert is_triggered([-loss for loss in losses], interval, higher_is_better=True) is triggered
