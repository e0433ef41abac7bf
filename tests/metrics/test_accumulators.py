import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flaxformers_edu.metrics import Mean, merge, perplexity, token_accuracy


def test_batches_count_by_their_weight_not_by_their_number():
    # (1·3 + 2·1) / 4 = 1.25, where a mean of means gives 1.5
    long = Mean.of(jnp.full(3, 1.0))
    short = Mean.of(jnp.array([2.0, 9.0]), jnp.array([1.0, 0.0]))
    assert float(long.merge(short).compute()) == 1.25


@given(
    values=st.lists(st.floats(-10, 10, width=32), min_size=2, max_size=12), cut=st.integers(1, 11)
)
def test_any_split_into_batches_gives_the_same(values, cut):
    values = np.array(values, np.float32)
    cut = min(cut, len(values))
    one, other = Mean.of(jnp.asarray(values[:cut])), Mean.of(jnp.asarray(values[cut:]))
    expected = values.astype(np.float64).mean()
    for merged in (one.merge(other), other.merge(one), Mean.empty().merge(one).merge(other)):
        np.testing.assert_allclose(merged.compute(), expected, rtol=1e-5, atol=1e-5)


def test_nothing_seen_is_nan_not_zero():
    assert np.isnan(Mean.empty().compute())


def test_values_without_weight_are_not_looked_at():
    mean = Mean.of(jnp.array([2.0, jnp.nan]), jnp.array([1.0, 0.0]))
    assert float(mean.compute()) == 2.0


def test_a_pytree_that_scan_can_carry():
    def step(carry, value):
        return carry.merge(Mean.of(value)), None

    total, _ = jax.lax.scan(step, Mean.empty(), jnp.arange(6.0).reshape(3, 2))
    assert float(total.compute()) == 2.5


def test_merging_by_name_keeps_names_of_one_side():
    one = {"loss": Mean.of(jnp.ones(2)), "a": Mean.of(jnp.ones(1))}
    other = {"loss": Mean.of(jnp.full(2, 3.0)), "b": Mean.of(jnp.zeros(1))}
    merged = {name: float(mean.compute()) for name, mean in merge(one, other).items()}
    assert merged == {"loss": 2.0, "a": 1.0, "b": 0.0}


def test_the_perplexity_of_a_uniform_guess_is_the_vocabulary_s_size():
    assert float(perplexity(Mean.of(jnp.full(5, np.log(32.0))))) == pytest.approx(32.0, rel=1e-5)


def test_token_accuracy_counts_only_what_the_mask_has():
    logits = jax.nn.one_hot(jnp.array([[0, 1, 2], [3, 3, 3]]), 4)
    labels = jnp.array([[0, 1, 1], [3, 0, 0]])
    mask = jnp.array([[1, 1, 1], [1, 1, 0]])
    accuracy = token_accuracy(logits, labels, mask)
    assert (float(accuracy.total), float(accuracy.weight)) == (3.0, 5.0)
