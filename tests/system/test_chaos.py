"""The chaos test: a short form with one event of each kind, and the long one of the record."""

import pytest

from tests.system.chaos import KILL, TERM, TRUNCATE, Chaos, main


def test_a_kill_a_truncation_and_a_signal_change_nothing(tmp_path):
    chaos = Chaos(tmp_path, seed=0, minutes=60, dead_after=10)
    rounds = [
        ((2, 2), KILL, "training"),
        ((2, 2), TRUNCATE, "training"),
        ((2, 2), TERM, "saving"),
    ]
    chaos.go(iter(rounds))
    found = chaos.compare(chaos.finish())
    assert chaos.record.events[KILL] == chaos.record.events[TRUNCATE] == 1
    assert chaos.record.events[TERM] >= 1
    assert found["steps_bitwise_equal"] == found["steps"] > 10
    assert chaos.record.longest_stop_seconds < 60


@pytest.mark.slow
def test_half_an_hour_of_it(tmp_path):
    assert main(["--minutes", "30", "--workdir", str(tmp_path / "chaos")]) == 0
