"""The cache against one that keeps every hypothesis' whole history, over random reorderings.

Dims: B batch, N hypotheses a row, P prompt length, S slots, G key/value heads, H heads, K head_dim.
"""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from flaxformers_edu.layers.attention import dot_product_attention
from flaxformers_edu.layers.cache import (
    DecodeCache,
    KeysValues,
    LayerCache,
    Slots,
    num_slots,
    prompt_positions,
)
from tests.layers import definitions

B, N, P, H, G, K, STEPS, WINDOW = 2, 3, 4, 2, 1, 4, 5, 3


def keys_values(generator, length):
    shape = (B, length, G, K)
    return KeysValues(*(jnp.asarray(generator.normal(size=shape), jnp.float32) for _ in "kv"))


@jax.jit
def prefill(prompt, prompt_mask_BP):
    slots = num_slots(P, N, STEPS)
    empty = Slots.empty(B, G, slots, K, jnp.float32)
    layer = LayerCache(empty.write(prompt, 0))
    return DecodeCache.create(
        (layer,), prompt_mask_BP=prompt_mask_BP, num_beams=N, max_new_tokens=STEPS
    )


@jax.jit
def step(cache, new, q_BNHK, parents_BN):
    """One step of a decoder that is nothing but attention, global and local."""
    cache = cache.extend()
    positions_BN = cache.positions()
    seen = cache.layers[0].attention.write(new, cache.next_slot)
    outs = [
        dot_product_attention(q_BNHK, seen.key_BSGK, seen.value_BSGW, cache.mask(window))
        for window in (None, WINDOW)
    ]
    cache = cache.advance((LayerCache(seen),))
    return outs, positions_BN, cache.reorder(parents_BN)


@settings(max_examples=15)
@given(st.integers(0, 10**6))
def test_cache_equals_full_histories(seed):
    generator = np.random.default_rng(seed)
    lengths = generator.integers(0, P + 1, B)
    mask_BP = np.arange(P)[None] >= P - lengths[:, None]
    prompt = keys_values(generator, P)
    cache = prefill(prompt, jnp.asarray(mask_BP))

    # A history is a list of (key, value); the index in it is the position.
    def of_prompt(b):
        real = np.flatnonzero(mask_BP[b])
        return [(prompt.key_BSGK[b, p], prompt.value_BSGW[b, p]) for p in real]

    histories = [[of_prompt(b) for _ in range(N)] for b in range(B)]
    for _ in range(STEPS):
        new = keys_values(generator, N)
        q = jnp.asarray(generator.normal(size=(B, N, H, K)), jnp.float32)
        parents = generator.integers(0, N, (B, N))
        outs, positions, cache = step(cache, new, q, jnp.asarray(parents))
        for b in range(B):
            for n in range(N):
                history = histories[b][n]
                history.append((new.key_BSGK[b, n], new.value_BSGW[b, n]))
                assert positions[b, n] == len(history) - 1
                k, v = (np.stack(array)[None] for array in zip(*history, strict=True))
                near = np.arange(len(history)) > len(history) - 1 - WINDOW
                for out, allowed in zip(outs, (np.ones_like(near), near), strict=True):
                    expected, _ = definitions.attention(
                        q[b, n][None, None], k, v, allowed[None, None]
                    )
                    np.testing.assert_allclose(out[b, n], expected[0, 0], atol=1e-5)
        histories = [[list(histories[b][parents[b, n]]) for n in range(N)] for b in range(B)]


def test_a_cache_has_just_enough_slots():
    assert num_slots(P, N, STEPS) == P + N * STEPS
    cache = prefill(keys_values(np.random.default_rng(0), P), jnp.ones((B, P), bool))
    for _ in range(STEPS):
        cache = cache.extend()
        cache = cache.advance(cache.layers)
    assert cache.next_slot == cache.visible_BNS.shape[2]
    # Every slot belongs to the prompt, which all see, or to one hypothesis.
    np.testing.assert_array_equal(cache.visible_BNS.sum(axis=1)[0], [N] * P + [1] * (N * STEPS))


def test_positions_of_a_left_padded_prompt_count_real_tokens():
    mask = jnp.array([[0, 0, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]], bool)
    np.testing.assert_array_equal(
        prompt_positions(mask), [[0, 0, 0, 1], [0, 1, 2, 3], [0, 0, 0, 0]]
    )


def test_write_keeps_the_rest_and_the_dtype():
    ones = jnp.ones((1, 4, 1, 2), jnp.bfloat16)
    slots = Slots.of(KeysValues(ones, ones))
    new = KeysValues(jnp.full((1, 2, 1, 2), 5.0), jnp.full((1, 2, 1, 2), 7.0))
    written = slots.write(new, jnp.int32(1))
    assert written.key_BSGK.dtype == written.value_BSGW.dtype == jnp.bfloat16
    assert written.key_BSGK[0, :, 0, 0].tolist() == [1, 5, 5, 1]
    assert written.value_BSGW[0, :, 0, 0].tolist() == [1, 7, 7, 1]


def test_slots_are_keys_and_values_reordered():
    seen = keys_values(np.random.default_rng(0), P)
    slots = Slots.of(seen)
    assert slots.key_BGKS.shape == (B, G, K, P)
    assert slots.value_BGSW.shape == (B, G, P, K)
    np.testing.assert_array_equal(slots.key_BSGK, seen.key_BSGK)
    np.testing.assert_array_equal(slots.value_BSGW, seen.value_BSGW)
