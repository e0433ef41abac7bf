import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flaxformers_edu.errors import InputError
from flaxformers_edu.optim import Schedule

STEPS = jnp.arange(1000)


def t_of(step):  # the number of the update, from 1
    return np.asarray(step, np.float64) + 1


@pytest.mark.parametrize("model_dim, warmup_steps", [(512, 4000), (1024, 4000), (64, 1)])
def test_rsqrt_with_model_dim_is_equation_3_of_attention_is_all_you_need(model_dim, warmup_steps):
    rate = Schedule(name="rsqrt", model_dim=model_dim, warmup_steps=warmup_steps).build(10**6)
    t = t_of(STEPS * 20)
    expected = model_dim**-0.5 * np.minimum(t**-0.5, t * warmup_steps**-1.5)
    np.testing.assert_allclose(rate(STEPS * 20), expected, rtol=1e-5)


def test_the_transformer_base_peaks_at_its_known_height():
    rate = Schedule(name="rsqrt", model_dim=512, warmup_steps=4000).build(100_000)
    # 512^-0.5 · 4000^-0.5, worked out by hand
    np.testing.assert_allclose(rate(3999), 6.987712e-4, rtol=1e-5)
    assert rate(3999) == jnp.max(rate(jnp.arange(10_000)))
    np.testing.assert_allclose(rate(15_999), 6.987712e-4 / 2, rtol=1e-5)


def test_rsqrt_with_a_peak_has_the_paper_s_course():
    paper = Schedule(name="rsqrt", model_dim=256, warmup_steps=100).build(1000)
    given_peak = Schedule(name="rsqrt", peak=float(paper(99)), warmup_steps=100).build(1000)
    np.testing.assert_allclose(given_peak(STEPS), paper(STEPS), rtol=1e-5)


@pytest.mark.parametrize("end_ratio", [0.0, 0.1])
@pytest.mark.parametrize("warmup_steps", [0, 50])
def test_equal_to_optax_where_optax_has_the_schedule(warmup_steps, end_ratio):
    peak, total = 3e-4, 800
    common = {"peak": peak, "warmup_steps": warmup_steps, "end_ratio": end_ratio}
    rise = optax.linear_schedule(0.0, peak, warmup_steps) if warmup_steps else None
    falls = {
        "linear": optax.linear_schedule(peak, peak * end_ratio, total - warmup_steps),
        "polynomial": optax.polynomial_schedule(peak, peak * end_ratio, 2.0, total - warmup_steps),
        "cosine": optax.cosine_decay_schedule(peak, total - warmup_steps, end_ratio),
        "constant": optax.constant_schedule(peak),
    }
    for name, fall in falls.items():
        reference = optax.join_schedules([rise, fall], [warmup_steps]) if rise else fall
        rate = Schedule(name=name, power=2.0, **common).build(total)
        # optax counts from 0 where this library's warm-up counts from 1
        expected = np.array([reference(t) for t in range(1, 1001)])
        np.testing.assert_allclose(rate(STEPS), expected, rtol=2e-4, atol=1e-9, err_msg=name)


def test_wsd_by_hand():
    rate = Schedule(name="wsd", peak=1.0, warmup_steps=4, decay_fraction=0.25, end_ratio=0.2).build(
        16
    )
    values = [0.25, 0.5, 0.75, 1.0] + [1.0] * 8 + [0.8, 0.6, 0.4, 0.2, 0.2, 0.2]
    np.testing.assert_allclose(rate(jnp.arange(18)), values, rtol=1e-6)


def test_slanted_triangular_by_hand():
    # T=100, cut_frac=.1, ratio=32, peak .01: cut=10; p(5)=.5; p(55)=1-45/90=.5; p(100)=0
    rate = Schedule(name="slanted_triangular", peak=0.01, cut_fraction=0.1, ratio=32).build(100)
    np.testing.assert_allclose(rate(9), 0.01, rtol=1e-6)
    np.testing.assert_allclose(rate(4), 0.01 * (1 + 0.5 * 31) / 32, rtol=1e-6)
    np.testing.assert_allclose(rate(54), 0.01 * (1 + 0.5 * 31) / 32, rtol=1e-6)
    np.testing.assert_allclose(rate(99), 0.01 / 32, rtol=1e-6)
    np.testing.assert_allclose(rate(500), 0.01 / 32, rtol=1e-6)


NAMES = ["constant", "linear", "cosine", "polynomial", "rsqrt", "wsd", "slanted_triangular"]


@given(
    name=st.sampled_from(NAMES),
    warmup_steps=st.integers(0, 40),
    total=st.integers(41, 200),
    end_ratio=st.floats(0, 1),
)
def test_rises_once_and_falls_once_between_zero_and_the_peak(name, warmup_steps, total, end_ratio):
    schedule = Schedule(name=name, peak=0.5, warmup_steps=warmup_steps, end_ratio=end_ratio)
    # Of one shape always: op by op, a new one is compiled anew.
    values = np.asarray(schedule.build(total)(jnp.arange(205)))[: total + 5]
    assert values.min() >= 0 and values.max() <= 0.5 * (1 + 1e-6)
    top = int(values.argmax())
    assert (np.diff(values[: top + 1]) >= -1e-7).all()
    assert (np.diff(values[top:]) <= 1e-7).all()
    assert values[0] > 0 or name == "linear"  # no update is wasted on a rate of zero


def test_its_own_total_wins_over_the_run_s():
    own = Schedule(name="linear", peak=1.0, warmup_steps=0, total_steps=10).build(100)
    assert own(9) == 0.0
    assert Schedule(name="linear", peak=1.0, warmup_steps=0).build(100)(9) == pytest.approx(0.9)


def test_runs_inside_jit_and_returns_float32():
    for name in NAMES:
        rate = jax.jit(Schedule(name=name, warmup_steps=2).build(10))(jnp.int32(3))
        assert rate.dtype == jnp.float32 and rate.shape == ()


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"name": "cosin"}, "did you mean 'cosine'"),
        ({"peak": 0.0}, "peak=0.0"),
        ({"warmup_steps": -1}, "warmup_steps=-1"),
        ({"total_steps": 0}, "total_steps=0"),
        ({"end_ratio": 1.5}, "end_ratio=1.5"),
        ({"decay_fraction": 0.0}, "decay_fraction=0.0"),
        ({"cut_fraction": 1.0}, "cut_fraction=1.0"),
        ({"ratio": 0.5}, "ratio=0.5"),
        ({"name": "cosine", "model_dim": 512}, "model_dim=512"),
    ],
)
def test_bad_fields_are_named(fields, message):
    with pytest.raises(InputError, match=message):
        Schedule(**fields)


def test_a_warm_up_longer_than_the_run_is_refused():
    with pytest.raises(InputError, match="warmup_steps=100 must be below the total of 100"):
        Schedule(name="cosine", warmup_steps=100).build(100)
