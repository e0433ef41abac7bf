import pytest

from train.measure import Work
from train.pace import Pace


@pytest.fixture
def clock(monkeypatch):
    """Times that the next readings of the clock give."""
    times: list[float] = []
    monkeypatch.setattr("train.pace.time.perf_counter", lambda: times.pop(0))
    return times


def test_a_window_of_steps(clock):
    clock += [0.0, 1.0, 3.0, 4.0]
    pace = Pace(peak_flops=1000.0)
    for tokens in (10, 20, 30):
        pace.finished(tokens, Work(positions=100, flops=800.0))
    assert pace.read() == {
        "tokens_per_second": 60 / 4,
        "positions_per_second": 300 / 4,
        "steps_per_second": 3 / 4,
        "step_seconds_p50": 1.0,
        "step_seconds_p90": pytest.approx(1.8),  # between 1 and 2, the sorted last ones
        "step_seconds_max": 2.0,
        "model_flops_per_second": 600.0,
        "mfu": 0.6,
    }


def test_a_pause_belongs_to_no_step(clock):
    clock += [0.0, 1.0, 1.5, 100.0, 102.5, 103.5]
    pace = Pace(peak_flops=1.0)
    pace.finished(1, Work(1, 1.0))  # at 1
    with pace.paused():  # from 1.5 to 100
        pass
    pace.finished(1, Work(1, 1.0))  # at 102.5, of which 3 are its own
    assert pace.read()["step_seconds_max"] == 3.0
    pace.finished(1, Work(1, 1.0))  # another window begins where the last one ended
    assert pace.read()["steps_per_second"] == 1.0
