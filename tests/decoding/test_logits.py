"""Rules and filters on scores, against numbers worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flaxformers_edu.decoding import Processors, filtered_log_probs
from flaxformers_edu.decoding.logits import keep_min_p, keep_top_k, keep_top_p

LOGITS = jnp.log(jnp.array([0.1, 0.4, 0.2, 0.3]))


def kept(logits):
    return np.flatnonzero(np.isfinite(np.asarray(logits))).tolist()


def test_top_k_keeps_what_ties_with_the_last():
    assert kept(keep_top_k(LOGITS, 1)) == [1]
    assert kept(keep_top_k(LOGITS, 3)) == [1, 2, 3]
    assert kept(keep_top_k(LOGITS, 9)) == [0, 1, 2, 3]
    assert kept(keep_top_k(jnp.array([1.0, 2.0, 1.0, 0.0]), 2)) == [0, 1, 2]


@pytest.mark.parametrize(
    ("top_p", "expected"),
    [(0.0, [1]), (0.35, [1]), (0.65, [1, 3]), (0.75, [1, 2, 3]), (1.0, [0, 1, 2, 3])],
)
def test_top_p_keeps_the_smallest_set_that_reaches_p(top_p, expected):
    assert kept(keep_top_p(LOGITS, top_p)) == expected


def test_top_p_removes_the_lower_index_among_equals():
    assert kept(keep_top_p(jnp.zeros(4), 0.4)) == [2, 3]


def test_min_p_is_relative_to_the_likeliest():
    assert kept(keep_min_p(LOGITS, 0.0)) == [0, 1, 2, 3]
    assert kept(keep_min_p(LOGITS, 0.45)) == [1, 2, 3]
    assert kept(keep_min_p(LOGITS, 1.0)) == [1]


def test_temperature_comes_before_the_filters():
    """At temperature .5 probabilities are squared: .4 alone is above half of the whole."""
    hot = filtered_log_probs(LOGITS, top_p=0.5)
    cold = filtered_log_probs(LOGITS, temperature=0.5, top_p=0.5)
    assert kept(hot) == [1, 3]
    assert kept(cold) == [1]
    squares = np.array([0.01, 0.16, 0.04, 0.09]) / 0.3
    np.testing.assert_allclose(
        jnp.exp(filtered_log_probs(LOGITS, temperature=0.5)), squares, rtol=1e-5
    )


@given(
    seed=st.integers(0, 1000),
    top_p=st.floats(0.0, 1.0, width=32),
    min_p=st.floats(0.0, 1.0, width=32),
    temperature=st.floats(0.125, 8.0, width=32),
)
def test_filters_keep_the_likeliest_token_and_a_distribution(seed, top_p, min_p, temperature):
    logits = jax.random.normal(jax.random.key(seed), (3, 7))
    log_probs = filtered_log_probs(
        logits, temperature=temperature, top_k=5, top_p=top_p, min_p=min_p
    )
    np.testing.assert_allclose(jnp.exp(log_probs).sum(axis=-1), 1.0, rtol=1e-5)
    np.testing.assert_array_equal(log_probs.argmax(axis=-1), logits.argmax(axis=-1))
    assert (np.isfinite(np.asarray(log_probs)).sum(axis=-1) <= 5).all()


def apply(processors, t, scores=(1.0, -1.0, 2.0, 0.0), prompt_length=2, max_new_tokens=4):
    context = jnp.zeros((1, prompt_length), jnp.int32)
    tokens = jnp.ones((1, 1, max_new_tokens), jnp.int32)
    return np.asarray(processors(jnp.array([[scores]]), context, tokens, t))[0, 0].tolist()


def test_no_rules_change_nothing():
    assert Processors(eos_token_ids=(1,)).only_remove
    assert apply(Processors(eos_token_ids=(1,)), 0) == [1.0, -1.0, 2.0, 0.0]


def test_repetition_penalty_on_positive_and_negative_scores():
    processors = Processors(repetition_penalty=2.0)
    assert not processors.only_remove
    assert apply(processors, 0) == [0.5, -1.0, 2.0, 0.0]
    assert apply(processors, 1) == [0.5, -2.0, 2.0, 0.0]


def test_min_new_tokens_holds_back_every_end():
    processors = Processors(min_new_tokens=2, eos_token_ids=(1, 2))
    assert apply(processors, 1) == [1.0, -np.inf, -np.inf, 0.0]
    assert apply(processors, 2) == [1.0, -1.0, 2.0, 0.0]


def test_forced_tokens():
    first = Processors(forced_bos_token_ids=(3,))
    assert apply(first, 0, prompt_length=1) == [-np.inf, -np.inf, -np.inf, 0.0]
    assert apply(first, 1, prompt_length=1) == [1.0, -1.0, 2.0, 0.0]
    assert apply(first, 0, prompt_length=2) == [1.0, -1.0, 2.0, 0.0]
    last = Processors(forced_eos_token_ids=(1,))
    assert apply(last, 2) == [1.0, -1.0, 2.0, 0.0]
    assert apply(last, 3) == [-np.inf, 0.0, -np.inf, -np.inf]
