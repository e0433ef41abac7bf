"""What tokens say of the next one, against the same said in Python."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flaxformers_edu.decoding import Processors
from flaxformers_edu.decoding.sequences import (
    as_rows,
    completing,
    end_with,
    last_tokens,
    marked,
    repeating,
    written_tokens,
)

V = 5


def found(tokens):
    """The tokens of the first hypothesis that are some."""
    return {int(token) for token in np.asarray(tokens)[0, 0] if token >= 0}


def line(tokens):
    return jnp.array([[tokens]], jnp.int32)


def test_seen_tokens():
    context = jnp.array([[-1, 2], [0, 1]])
    tokens = jnp.array([[[3, 4], [0, 4]], [[2, 2], [3, 3]]])
    seen = marked(written_tokens(context, tokens, 1), V)
    assert [[np.flatnonzero(row).tolist() for row in rows] for rows in np.asarray(seen)] == [
        [[2, 3], [0, 2]],
        [[0, 1, 2], [0, 1, 3]],
    ]


def test_last_tokens_reach_before_the_first():
    assert last_tokens(line([4, 3, 2, -1]), 3, 2)[0, 0].tolist() == [3, 2]
    assert last_tokens(line([4, 3, 2, -1]), 1, 3)[0, 0].tolist() == [-1, -1, 4]
    assert last_tokens(line([4, 3]), 2, 0).shape == (1, 1, 0)


@given(
    tokens=st.lists(st.integers(0, 2), min_size=1, max_size=8),
    n=st.integers(1, 4),
    padding=st.integers(0, 3),
)
def test_repeating_is_what_makes_an_ngram_stand_twice(tokens, n, padding):
    def ngrams(row):
        return [tuple(row[i : i + n]) for i in range(len(row) - n + 1)]

    expected = {token for token in range(3) if ngrams([*tokens, token])[-1:] != []}
    expected = {
        token
        for token in expected
        if len(tokens) >= n - 1 and ngrams([*tokens, token])[-1] in ngrams(tokens)
    }
    row = [*[-1] * padding, *tokens, *[-1] * (11 - padding - len(tokens))]
    assert found(repeating(line(row), padding + len(tokens), n)) == expected


def test_sequences_of_different_lengths_become_rows():
    rows = as_rows([[1], [2, 3, 4], [0, 4]])
    assert rows.shape == (4, 4)
    assert rows.tolist()[:3] == [[-1, -1, -1, 1], [-1, 2, 3, 4], [-1, -1, 0, 4]]
    assert rows[3].tolist() == rows[0].tolist()
    assert as_rows([]) is None


def test_completing_and_ending():
    rows = as_rows([[1], [2, 3, 4], [0, 4], [3, 0]])
    assert found(completing(line([0, 2, 3, -1]), 3, rows)) == {1, 4, 0}
    assert found(completing(line([2, -1, -1]), 1, rows)) == {1}
    assert found(completing(line([-1, 0, -1]), 2, rows)) == {1, 4}
    assert found(completing(line([-1, -1]), 0, rows)) == {1}
    for tokens, length, ends in [
        ([2, 3, 4], 3, True), ([2, 3, 4], 2, False), ([2, 0, 4], 3, True), ([3, 4, 0], 2, False),
        ([1, 0, 0], 1, True), ([3, 0, 0], 2, True), ([3, 0, 0], 3, False),
    ]:  # fmt: skip
        assert bool(end_with(line(tokens), length, rows)[0, 0]) == ends, tokens


@pytest.mark.parametrize(
    ("rule", "removed"),
    [
        ({"no_repeat_ngram_size": 1}, {0, 2, 3}),
        ({"no_repeat_ngram_size": 2}, {3}),
        ({"no_repeat_ngram_size": 3}, set()),
        ({"banned_SW": as_rows([[4], [3, 2, 1], [2, 2]])}, {4, 1, 2}),
    ],
)
def test_processors_remove_them(rule, removed):
    """Prompt: padding, 2 3; new: 0 3 2 so far, of four."""
    context, tokens = jnp.array([[-1, 2, 3]]), jnp.array([[[0, 3, 2, 4]]])
    scores = jnp.arange(5.0)[None, None]
    processors = Processors(**rule)
    assert processors.only_remove
    after = np.asarray(processors(scores, context, tokens, 3))[0, 0]
    assert set(np.flatnonzero(np.isinf(after)).tolist()) == removed
    kept = sorted(set(range(5)) - removed)
    np.testing.assert_array_equal(after[kept], np.arange(5.0)[kept])
