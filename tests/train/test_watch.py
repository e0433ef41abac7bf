import os
import signal
import threading

import pytest

from train.watch import Meter, NonFinite, Stopped, StopSignal

FINE = {"loss": 1.0, "grad_norm": 2.0, "param_norm": 3.0, "tokens": 10.0}


def test_numbers_are_read_one_step_late():
    meter = Meter()
    meter.add(1, {**FINE, "loss": float("nan")})
    with pytest.raises(NonFinite, match="loss is nan at step 1"):
        meter.add(2, FINE)


@pytest.mark.parametrize("name", ["loss", "grad_norm", "param_norm"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_everything_that_must_be_finite_is_checked(name, value):
    meter = Meter()
    meter.add(7, {**FINE, name: value})
    with pytest.raises(NonFinite, match=f"{name} is {value} at step 7"):
        meter.check()
    meter.check()  # reported once


def test_speeds_are_of_the_window(monkeypatch):
    clock = iter([0.0, 2.0, 3.0, 6.0, 6.0, 8.0, 8.0])
    monkeypatch.setattr("train.watch.time.perf_counter", lambda: next(clock))
    meter = Meter()
    meter.add(1, FINE)
    meter.add(2, {**FINE, "loss": 5.0})
    with meter.paused():  # from 2 to 3: does not count
        pass
    found = meter.read()  # at 6
    assert found["loss"] == 5.0
    assert found["tokens_per_second"] == 20 / 5
    assert found["steps_per_second"] == 2 / 5
    meter.add(3, FINE)
    assert meter.read()["tokens_per_second"] == 10 / 2


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_is_noted_and_the_handlers_come_back(number, status):
    before = signal.getsignal(number)
    with StopSignal() as stop:
        stop.check()
        os.kill(os.getpid(), number)
        with pytest.raises(Stopped, match=signal.Signals(number).name) as caught:
            stop.check()
    assert caught.value.exit_status == status
    assert signal.getsignal(number) is before


def test_a_second_signal_leaves_at_once(monkeypatch):
    left = []
    monkeypatch.setattr(os, "_exit", left.append)
    with StopSignal():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
    assert left == [143]


def test_another_thread_may_train():
    found = []

    def work():
        with StopSignal() as stop:
            stop.check()
            found.append(stop.number)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [None]
