"""The blocked top-k: equal to sorting all continuations, ties in the order of the index."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformers_edu.decoding.top_k import FEW, highest_token, top_continuations

top = functools.partial(jax.jit, static_argnums=3)(top_continuations)


def sort_all(scores, minus, plus, k):
    total = (scores - minus[..., None]) + plus[..., None]
    flat = total.reshape(len(total), -1)
    order = np.argsort(-flat, axis=1, kind="stable")[:, :k]
    V = scores.shape[-1]
    return np.take_along_axis(flat, order, axis=1), order // V, order % V


@pytest.mark.parametrize("shape", [(2, 3, 7), (2, 3, 2000), (1, 4, 2560), (3, 1, 5001)], ids=str)
@pytest.mark.parametrize("k", [1, 6, 21])
@pytest.mark.parametrize("distinct", [3, 1_000_000])
def test_equals_sorting_all(shape, k, distinct):
    """Three distinct values: nearly everything ties, within a block and across blocks and beams."""
    generator = np.random.default_rng(k)
    scores = generator.integers(0, distinct, shape).astype(np.float32)
    minus = generator.integers(0, 2, shape[:2]).astype(np.float32)
    plus = generator.integers(0, 2, shape[:2]).astype(np.float32)
    found = top(scores, minus, plus, k)
    for ours, theirs in zip(found, sort_all(scores, minus, plus, k), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_rounding_ties_after_the_shift():
    """A dead beam's scores all round to -1e9: then the order of the index decides."""
    generator = np.random.default_rng(0)
    scores = generator.normal(size=(1, 2, 4096)).astype(np.float32)
    assert scores[0].size > FEW
    minus = np.zeros((1, 2), np.float32)
    plus = np.full((1, 2), -1e9, np.float32)
    values, beams, tokens = top(scores, minus, plus, 5)
    assert (np.asarray(values) == np.float32(-1e9)).all()
    assert beams.tolist() == [[0] * 5]
    assert tokens.tolist() == [[0, 1, 2, 3, 4]]


def test_removed_continuations_are_real_tokens():
    """Fewer finite scores than candidates: what is reported beyond them lies in the vocabulary."""
    scores = np.full((1, 3, 3001), -np.inf, np.float32)
    scores[0, 1, 17] = 1.0
    zero = np.zeros((1, 3), np.float32)
    values, beams, tokens = top(scores, zero, zero, 6)
    assert (int(beams[0, 0]), int(tokens[0, 0]), float(values[0, 0])) == (1, 17, 1.0)
    assert (np.asarray(values[0, 1:]) == -np.inf).all()
    assert (np.asarray(tokens) < 3001).all() and (np.asarray(beams) < 3).all()


def test_log_probabilities_without_writing_them_out():
    logits = jax.random.normal(jax.random.key(0), (2, 3, 3000))
    plus = jnp.array([[0.0, -1.0, -2.0], [-0.5, 0.0, -3.0]])
    values, beams, tokens = top(logits, jax.nn.logsumexp(logits, axis=-1), plus, 8)
    expected = jax.nn.log_softmax(logits, axis=-1) + plus[..., None]
    np.testing.assert_allclose(
        values, -np.sort(-np.asarray(expected).reshape(2, -1))[:, :8], atol=1e-5
    )
    chosen = expected[jnp.arange(2)[:, None], beams, tokens]
    np.testing.assert_allclose(chosen, values, atol=1e-5)


def test_vmap():
    logits = jax.random.normal(jax.random.key(0), (3, 2, 2, 3000))
    zero = jnp.zeros((2, 2))
    together = jax.vmap(lambda x: top(x, zero, zero, 4))(logits)
    for i in range(3):
        for ours, alone in zip(together, top(logits[i], zero, zero, 4), strict=True):
            np.testing.assert_array_equal(ours[i], alone)


@pytest.mark.parametrize("shape", [(5, 7), (2, 3, 4097), (4, 5120)], ids=str)
@pytest.mark.parametrize("distinct", [1, 3, 1_000_000])
def test_highest_token_is_argmax(shape, distinct):
    scores = np.random.default_rng(0).integers(0, distinct, shape).astype(np.float32)
    found = jax.jit(highest_token)(scores)
    np.testing.assert_array_equal(found, scores.argmax(axis=-1))
    assert found.dtype == jnp.int32


def test_highest_token_where_all_are_removed_but_the_last():
    scores = np.full((1, 5001), -np.inf, np.float32)
    assert int(highest_token(jnp.asarray(scores))[0]) == 0
    scores[0, 5000] = -1e30
    assert int(highest_token(jnp.asarray(scores))[0]) == 5000
