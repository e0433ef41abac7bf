import pytest

from flaxformers_edu.errors import InputError
from flaxformers_edu.optim import Optimizer, Schedule
from flaxformers_edu.optim.scaling import linear, rescaled, square_root

ADAM = Optimizer(b1=0.9, b2=0.98, eps=1e-8)
SCHEDULE = Schedule(name="linear", peak=1e-3, warmup_steps=50)


def test_goyal_et_al():
    """0.1 at 256 images is 3.2 at 8,192 (their section 2.1 and table 1)."""
    assert linear(0.1, 8192 / 256) == pytest.approx(3.2)


def test_rules_that_change_the_peak_alone():
    for rule, peak in (("linear", 4e-3), ("square_root", 2e-3)):
        optimizer, schedule = rescaled(ADAM, SCHEDULE, 4, rule)
        assert optimizer == ADAM
        assert schedule.peak == pytest.approx(peak)
        assert (schedule.name, schedule.warmup_steps) == ("linear", 50)
    assert square_root(2.0, 9) == 6.0


def test_adam_keeps_the_path_of_its_equation():
    optimizer, schedule = rescaled(ADAM, SCHEDULE, 4, "adam")
    assert schedule.peak == pytest.approx(2e-3)
    assert (optimizer.b1, optimizer.b2) == pytest.approx((0.6, 0.92))
    assert optimizer.eps == pytest.approx(5e-9)
    back = rescaled(optimizer, schedule, 1 / 4, "adam")
    assert (back[0].b1, back[0].b2, back[0].eps) == pytest.approx((0.9, 0.98, 1e-8))
    assert back[1].peak == pytest.approx(1e-3)


def test_what_cannot_be_scaled():
    with pytest.raises(InputError, match="1 - b1 would be 1.6; use rule 'square_root'"):
        rescaled(ADAM, SCHEDULE, 16, "adam")
    with pytest.raises(InputError, match="factor of the batch is 0"):
        rescaled(ADAM, SCHEDULE, 0, "linear")
    with pytest.raises(InputError, match="did you mean 'linear'"):
        rescaled(ADAM, SCHEDULE, 2, "liner")
    with pytest.raises(InputError, match="model_dim=512 fixes the height"):
        rescaled(ADAM, Schedule(name="rsqrt", model_dim=512), 2, "linear")
