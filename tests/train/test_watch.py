import os
import signal
import threading

import pytest

from train.measure import Work
from train.watch import BadStep, Meter, Stopped, StopSignal

FINE = {"loss": 1.0, "grad_norm": 2.0, "param_norm": 3.0, "tokens": 10.0}
WORK = Work(positions=40, flops=100.0)


def test_numbers_are_read_one_step_late():
    meter = Meter(peak_flops=1e3)
    meter.add(1, {**FINE, "loss": float("nan")}, WORK)
    with pytest.raises(BadStep, match="loss is nan at step 1"):
        meter.add(2, FINE, WORK)


@pytest.mark.parametrize("name", ["loss", "grad_norm", "param_norm"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_everything_that_must_be_finite_is_checked(name, value):
    meter = Meter(peak_flops=1e3)
    meter.add(7, {**FINE, name: value}, WORK)
    with pytest.raises(BadStep, match=f"{name} is {value} at step 7"):
        meter.check()
    meter.check()  # reported once


def test_the_newest_step_is_read_with_its_padding_and_the_pace():
    meter = Meter(peak_flops=1e3)
    meter.add(1, FINE, WORK)
    meter.add(2, {**FINE, "loss": 5.0, "tokens": 30.0}, WORK)
    found = meter.read()
    assert found["loss"] == 5.0
    assert found["padding"] == 1 - 30 / WORK.positions
    # Both steps are in the window.
    assert found["positions_per_second"] / found["tokens_per_second"] == pytest.approx(80 / 40)
    meter.add(3, FINE, WORK)
    found = meter.read()
    assert found["positions_per_second"] / found["tokens_per_second"] == pytest.approx(40 / 10)


def test_a_pause_waits_for_the_newest_step():
    """What the devices still have to do for it is not lost in the pause."""
    meter = Meter(peak_flops=1e3)
    meter.add(1, {**FINE, "loss": float("nan")}, WORK)
    with pytest.raises(BadStep, match="loss is nan at step 1"), meter.paused():
        raise AssertionError("the pause had begun")


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


def test_with_many_processes_the_runtime_says_when(monkeypatch):
    asked = []
    monkeypatch.setattr("train.peers.number", lambda: 2)
    monkeypatch.setattr(
        "train.watch.multihost_utils.reached_preemption_sync_point",
        lambda point: asked.append(point) or point == 3,
    )
    before = signal.getsignal(signal.SIGTERM)
    with StopSignal() as stop:
        assert signal.getsignal(signal.SIGTERM) is before  # it is the runtime's to take
        stop.check()
        assert not stop.due()
        with pytest.raises(Stopped, match="SIGTERM") as caught:
            stop.check()
    assert asked == [1, 2, 3] and caught.value.exit_status == 143


def test_with_many_processes_ctrl_c_is_handed_to_the_runtime(monkeypatch):
    sent = []
    monkeypatch.setattr("train.peers.number", lambda: 2)
    monkeypatch.setattr(
        "train.watch.multihost_utils.reached_preemption_sync_point", lambda _: bool(sent)
    )
    with StopSignal() as stop:
        monkeypatch.setattr(os, "kill", lambda _, number: sent.append(number))
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(Stopped, match="SIGINT") as caught:
            stop.check()
    assert sent == [signal.SIGTERM] and caught.value.exit_status == 130
