"""The mask specification against a definition that asks one question at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flaxformers_edu.layers.masks import Mask, rows_with_keys
from tests.layers import definitions

B = 2


@st.composite
def specifications(draw):
    """A mask with any of its fields, and the sizes it is for."""
    T, S = draw(st.sampled_from([(1, 4), (4, 3)]))

    def array(rows, *shape, low=0, high=1, dtype=np.int32):
        size = int(np.prod((rows, *shape)))
        values = draw(st.lists(st.integers(low, high), min_size=size, max_size=size))
        return np.array(values, dtype).reshape(rows, *shape)

    def rows():
        return draw(st.sampled_from([1, B]))

    fields = {"causal": draw(st.booleans()), "window": draw(st.sampled_from([None, 1, 2, 4]))}
    if draw(st.booleans()):
        fields["key_lengths_B"] = array(B, high=S)
    if draw(st.booleans()):
        fields["key_mask_BS"] = array(B, S, dtype=bool)
    if draw(st.booleans()):
        fields["query_segments_BT"] = array(B, T, high=3)
    if draw(st.booleans()):
        fields["key_segments_BS"] = array(B, S, high=3)
    if draw(st.booleans()):
        fields["query_positions_BT"] = array(rows(), T, high=6)
    if draw(st.booleans()):
        fields["key_positions_BS"] = array(rows(), S, high=6)
    if draw(st.booleans()):
        fields["visible_BTS"] = array(rows(), T, S, dtype=bool)
    return Mask(**fields), T, S


def as_jax(mask):
    return jax.tree.map(jnp.asarray, mask)


@given(specifications())
def test_dense_is_the_definition(specification):
    mask, T, S = specification
    expected = definitions.allowed_BTS(mask, B, T, S)
    dense = as_jax(mask).dense(T, S)
    rows = rows_with_keys(as_jax(mask), T, S)
    if dense is None:
        assert rows is None
        assert expected.all()
    else:
        np.testing.assert_array_equal(np.broadcast_to(dense, (B, T, S)), expected)
        np.testing.assert_array_equal(np.broadcast_to(rows, (B, T)), expected.any(axis=-1))


@given(specifications())
def test_segments_are_padding_and_packing(specification):
    mask, T, S = specification
    without_places = mask.replace(
        causal=False,
        window=None,
        query_positions_BT=None,
        key_positions_BS=None,
        visible_BTS=None,
    )
    expected = definitions.allowed_BTS(without_places, B, T, S)
    segments = as_jax(mask).segments(B, T, S)
    if segments is None:
        assert expected.all()
    else:
        query_BT, key_BS = (np.asarray(ids) for ids in segments)
        np.testing.assert_array_equal(query_BT[:, :, None] == key_BS[:, None, :], expected)


def test_nothing_to_say():
    assert Mask().dense(3, 4) is None
    assert Mask.padding(None).dense(3, 4) is None
    assert Mask().segments(2, 3, 4) is None


def test_padding_takes_what_tokenisers_give():
    dense = Mask.padding(jnp.array([[1, 1, 0], [0, 1, 1]]), causal=True).dense(3, 3)
    np.testing.assert_array_equal(
        dense.astype(int),
        [[[1, 0, 0], [1, 1, 0], [1, 1, 0]], [[0, 0, 0], [0, 1, 0], [0, 1, 1]]],
    )


@pytest.mark.parametrize(("causal", "seen"), [(True, [2, 3]), (False, [2, 3, 4])])
def test_a_window_counts_the_query_itself(causal, seen):
    dense = Mask(causal=causal, window=2).dense(6, 6)
    assert np.flatnonzero(dense[0, 3]).tolist() == seen


def test_masks_are_trees_whose_kind_is_static():
    """A mask passes through jit: arrays are traced, causal and window choose the program."""
    mask = Mask(causal=True, window=2, key_lengths_B=jnp.array([1, 2]))
    assert len(jax.tree.leaves(mask)) == 1
    dense = jax.jit(lambda mask: mask.dense(2, 2))(mask)
    np.testing.assert_array_equal(dense, mask.dense(2, 2))
