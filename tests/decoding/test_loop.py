"""The loop's contract with the model's step, the cache and the strategy."""

import jax.numpy as jnp
import numpy as np
from flax import struct

from flaxformers_edu.decoding import (
    BeamSearch,
    Exhaustive,
    Greedy,
    Sampling,
    Strategy,
    decode,
    reorder_cache,
)
from tests.decoding.tables import random_table, start_cache, table_step

V, M = 6, 5


def test_every_strategy_is_one():
    for strategy in (Greedy(), Sampling(), BeamSearch(), Exhaustive(2, 2)):
        assert isinstance(strategy, Strategy)


def test_reorder_gathers_leaves_of_hypotheses_only():
    parents = jnp.array([[1, 1, 0], [2, 0, 1]])
    cache = {
        "keys": jnp.arange(24.0).reshape(2, 3, 4),
        "length": jnp.array(5),
        "source": jnp.arange(10.0).reshape(2, 5),
        "position": jnp.arange(6).reshape(2, 3),
    }
    after = reorder_cache(cache, parents)
    np.testing.assert_array_equal(after["keys"][0], cache["keys"][0, jnp.array([1, 1, 0])])
    np.testing.assert_array_equal(after["keys"][1], cache["keys"][1, jnp.array([2, 0, 1])])
    np.testing.assert_array_equal(after["position"], [[1, 1, 0], [5, 3, 4]])
    np.testing.assert_array_equal(after["length"], 5)
    np.testing.assert_array_equal(after["source"], cache["source"])


@struct.dataclass
class OwnCache:
    value_BN: jnp.ndarray

    def reorder(self, parents_BN):
        return OwnCache(self.value_BN + parents_BN)


def test_a_cache_may_reorder_itself():
    parents = jnp.array([[1, 0]])
    assert reorder_cache(OwnCache(jnp.zeros((1, 2), jnp.int32)), parents).value_BN.tolist() == [
        [1, 0]
    ]


def test_beams_see_the_history_of_their_parents():
    """All that a step knows is its cache: the history kept there must be what is returned."""
    table = random_table(0, 7, V)
    prompt = jnp.array([[2], [3]], jnp.int32)
    N = 3

    def step(tokens_BN, cache):
        table_cache, history_BNM, t = cache
        logits_BNV, table_cache = table_step(table)(tokens_BN, table_cache)
        history_BNM = history_BNM.at[:, :, t].set(tokens_BN)
        # The sum of all tokens so far moves the logits: a wrong history shows in the result.
        total = history_BNM.sum(axis=2) % V
        logits_BNV = logits_BNV + 2.0 * (jnp.arange(V)[None, None] == total[..., None])
        return logits_BNV, (table_cache, history_BNM, t + 1)

    history = jnp.zeros((2, N, M), jnp.int32)
    cache = (start_cache(prompt, jnp.ones_like(prompt), N), history, jnp.int32(0))
    strategy = BeamSearch(num_beams=N, num_return_sequences=N, length_penalty=0.0)
    found = decode(step, strategy, cache, prompt, max_new_tokens=M)
    for b in range(2):
        for i in range(N):
            tokens = [0, *found.sequences[b, i].tolist()]
            score = 0.0
            for t in range(M):
                logits = table[t % 7, tokens[t], tokens[t + 1]].astype(np.float64)
                logits[sum(tokens[: t + 2]) % V] += 2.0
                logits -= np.log(np.exp(logits).sum())
                score += logits[tokens[t + 2]]
            np.testing.assert_allclose(found.scores[b, i], score, atol=1e-4)


def test_own_reorder_is_used_and_the_prompt_is_returned_as_it_came():
    table = random_table(0, 7, V)
    prompt = jnp.array([[5, 2, 3], [4, 4, 1]], jnp.int32)
    mask = jnp.array([[0, 1, 1], [0, 0, 1]])
    seen = []

    def reorder(cache, parents_BN):
        seen.append(parents_BN.shape)
        return reorder_cache(cache, parents_BN)

    found = decode(
        table_step(table),
        BeamSearch(num_beams=2, num_return_sequences=2),
        start_cache(prompt, mask, 2),
        prompt,
        max_new_tokens=M,
        prompt_mask_BP=mask,
        reorder=reorder,
    )
    assert set(seen) == {(2, 2)}
    assert found.sequences.shape == (2, 2, 3 + M)
    assert found.sequences.dtype == jnp.int32
    np.testing.assert_array_equal(found.sequences[:, 0, :3], prompt)
    np.testing.assert_array_equal(found.sequences[:, 1, :3], prompt)
    assert found.lengths.tolist() == [[M, M], [M, M]]
