"""Closed forms against counting by hand; tests/models compares families with XLA's own count."""

import itertools

import pytest

from flaxformers_edu import flops
from flaxformers_edu.layers.masks import Mask


@pytest.mark.parametrize(
    ("num_queries", "num_keys", "causal", "window"),
    [*itertools.product([1, 5, 8], [1, 5, 9], [False, True], [None, 1, 3, 20])],
)
def test_pairs_are_those_of_the_mask(num_queries, num_keys, causal, window):
    dense = Mask(causal=causal, window=window).dense(num_queries, num_keys)
    expected = num_queries * num_keys if dense is None else int(dense.sum())
    assert flops.visible_pairs(num_queries, num_keys, causal=causal, window=window) == expected


def test_a_causal_square_is_half_and_the_diagonal():
    assert flops.visible_pairs(1000, 1000, causal=True) == 1000 * 1001 / 2


def test_attention_with_grouped_heads_and_wider_values():
    """2 x the terms of its six products, with every size different from every other."""
    B, T, S, D, H, G, K, W = 2, 3, 5, 7, 6, 4, 8, 11
    found = flops.attention(
        B, T, S, hidden_size=D, num_heads=H, head_dim=K, value_head_dim=W, num_kv_heads=G
    )
    query, key, value, output = (
        B * T * D * H * K,
        B * S * D * G * K,
        B * S * D * G * W,
        B * T * H * W * D,
    )
    assert found["projections"] == 2 * (query + key + value + output)
    assert found["products"] == 2 * (B * H * T * S * K + B * H * T * S * W)


def test_hidden_pairs_count_on_request():
    def products(**settings) -> float:
        size = {"hidden_size": 8, "num_heads": 2}
        return flops.attention(3, 6, 6, **size, **settings)["products"]

    assert products(causal=True) == products() * (6 * 7 / 2) / 36
    assert products(causal=True, masked=True) == products()
    assert products(causal=True, window=1) == products() / 6


def test_feed_forward():
    assert flops.feed_forward(5, 3, 7) == 2 * 5 * (3 * 7 + 7 * 3)
    assert flops.feed_forward(5, 3, 7, gated=True) == 3 / 2 * flops.feed_forward(5, 3, 7)


def test_parts_have_names_and_a_sum():
    parts = flops.within("encoder", {"a": 1.0, "b": 2.0}, times=4)
    assert parts == {"encoder/a": 4.0, "encoder/b": 8.0}
    assert flops.training_flops(parts) == 3 * 12
