"""The chaos test: a short form with one event of each kind, and the long one of the record."""

import pytest

from tests.system.chaos import KILL, TRUNCATE, Chaos, main


@pytest.mark.runs
def test_a_kill_a_truncation_and_a_signal_change_nothing(tmp_path):
    """What survivors say of a dead process, and what a signal leaves, is looked at on the way."""
    chaos = Chaos(tmp_path, "--checkpoint-every", "2", seed=0, minutes=60, dead_after=10)
    chaos.strike((2, 2), KILL, "training")
    chaos.truncate((2, 2), "saving")
    found = chaos.compare(chaos.finish((1, 4)))
    assert chaos.record.events[KILL] == chaos.record.events[TRUNCATE] == 1
    assert found["steps_bitwise_equal"] == found["steps"] > 10
    assert chaos.record.longest_stop_seconds < 60


@pytest.mark.slow
def test_half_an_hour_of_it(tmp_path):
    assert main(["--minutes", "30", "--workdir", str(tmp_path / "chaos")]) == 0
