"""The teaching baseline against the step that `run` uses."""

import jax
import numpy as np
import optax
import pytest

from tests.train.test_step import CONFIG, OBJECTIVE, RATE, assert_close, data_of, mesh_of, trained
from train.pmap import make_pmap_step, replicate, split
from train.state import create_state

needs_eight = pytest.mark.skipif(jax.device_count() != 8, reason="needs eight devices")


@pytest.mark.runs
@needs_eight
@pytest.mark.parametrize("ema_decay", [pytest.param(0.0, marks=pytest.mark.slow), 0.5])
def test_eight_by_pmap_are_one_by_jit(ema_decay):
    model, optimizer, data = CONFIG.build(), optax.sgd(RATE), data_of()
    tokens = (data.batch_at(0)["labels"] != -100).sum(axis=1)
    assert tokens.max() > 2 * tokens.min()  # a mean of the devices' means would be another
    one, history, _ = trained(steps=3, data=data, ema_decay=ema_decay)
    step = make_pmap_step(
        model, OBJECTIVE, optimizer, lambda step: RATE + step, seed=0, ema_decay=ema_decay
    )
    initial = create_state(model, optimizer, mesh_of(1), seed=0, ema=ema_decay > 0)
    state = replicate(initial)
    for i, expected in enumerate(history):
        state, metrics = step(state, split(data.batch_at(i)))
        assert {name: float(value[0]) for name, value in metrics.items()} == pytest.approx(
            expected, rel=1e-5
        )
        assert all(np.ptp(np.asarray(value)) == 0 for value in metrics.values())
    assert_close(jax.tree.map(lambda x: x[-1], state.params), one.params, atol=1e-5)
    assert_close(state.step, np.full(8, 3))
    if ema_decay:
        assert_close(jax.tree.map(lambda x: x[3], state.ema), one.ema, atol=1e-5)


@needs_eight
def test_rows_are_shared_out_in_order():
    batch = {"x": np.arange(16 * 3).reshape(16, 3)}
    parts = split(batch)["x"]
    assert parts.shape == (8, 2, 3)
    np.testing.assert_array_equal(parts[1], batch["x"][2:4])
