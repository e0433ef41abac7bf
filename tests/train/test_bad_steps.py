import jax
import numpy as np
import optax
import pytest

from flaxformers_edu.errors import InputError
from tests.train.quadratic import batch, state, step
from train.bad_steps import BadSteps

ADAM = optax.adam(0.1)
SKIP = BadSteps("skip", spike_factor=3.0, window=4)
GOOD = [0.1, 0.0, -0.1, 0.2]


def run(policy, moves, optimizer=ADAM):
    """The state after the steps, and the metrics of each."""
    function, now, history = step(optimizer, policy), state(optimizer, guard=policy.guarded), []
    for move in moves:
        now, metrics = function(now, batch(move))
        history.append({name: float(value) for name, value in metrics.items()})
    return jax.tree.map(np.asarray, now), history


def learnt(found):
    return jax.tree.leaves((found.params, found.opt_state, found.ema))


@pytest.mark.parametrize("bad", [np.nan, np.inf, 100.0])
def test_a_skipped_step_leaves_no_trace(bad):
    without, expected = run(SKIP, [*GOOD, 0.1])
    skipped, history = run(SKIP, [*GOOD, bad, 0.1])
    for ours, theirs in zip(learnt(skipped), learnt(without), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert (int(skipped.step), int(skipped.guard.skipped), int(skipped.updates)) == (6, 1, 5)
    assert [h["bad_in_a_row"] for h in history] == [0, 0, 0, 0, 1, 0]
    # The good step after it is the one that would have come without it, its rate too.
    assert history[-1] == expected[-1]
    for name, mean in skipped.guard.means.mean.items():
        assert mean == without.guard.means.mean[name]


def test_a_bad_step_is_no_spike_to_who_does_not_ask():
    _, history = run(BadSteps("skip"), [*GOOD, 100.0])
    assert [h["bad_in_a_row"] for h in history] == [0] * 5


def test_a_spike_needs_a_full_window_before_it():
    _, early = run(SKIP, [*GOOD[:3], 100.0])
    assert early[-1]["bad_in_a_row"] == 0
    _, late = run(SKIP, [*GOOD, 100.0])
    assert late[-1]["bad_in_a_row"] == 1


def test_bad_steps_in_a_row_are_counted():
    _, history = run(SKIP, [0.1, np.nan, np.nan, 0.1, np.nan])
    assert [h["bad_in_a_row"] for h in history] == [0, 1, 2, 0, 1]


def test_an_update_that_is_not_finite_is_bad_too():
    _, history = run(BadSteps("skip"), [0.1, 0.1], optax.sgd(1e38))
    assert all(np.isfinite(h["loss"]) and np.isfinite(h["grad_norm"]) for h in history[:1])
    assert history[0]["bad_in_a_row"] == 1 and not np.isfinite(history[0]["param_norm"])


def test_who_stops_or_goes_back_needs_no_copy():
    """The bad state is thrown away by the host: only the judgement is made."""
    for policy in (BadSteps("stop", 3.0, window=4), BadSteps("rollback", 3.0, window=4)):
        found, history = run(policy, [*GOOD, 100.0])
        assert history[-1]["bad_in_a_row"] == 1
        assert int(found.guard.skipped) == 0


def test_by_default_nothing_is_judged_or_kept():
    found, [metrics] = run(BadSteps(), [0.1])
    assert found.guard is None and "bad_in_a_row" not in metrics
    assert not BadSteps().guarded and BadSteps().tolerated == 0
    assert BadSteps("skip", max_in_a_row=7).tolerated == 7


def test_bad_settings():
    with pytest.raises(InputError, match="did you mean 'rollback'"):
        BadSteps("roll back")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"bad_steps\.spike_factor is 0\.5; it must be above 1"):
        BadSteps(spike_factor=0.5)
    with pytest.raises(InputError, match=r"bad_steps\.window is 0; it must be at least 1"):
        BadSteps(window=0)
