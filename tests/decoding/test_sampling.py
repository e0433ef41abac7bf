"""Sampling: its distribution, its filters and the independence of its rows."""

import jax
import jax.numpy as jnp
import numpy as np

from flaxformers_edu.decoding import Filters, Sampling, filtered_log_probs
from tests.decoding.tables import random_table, search

KEY = jax.random.key(7)


def test_frequencies_follow_the_filtered_distribution():
    logits = np.array([2.0, 1.5, 1.0, 0.0, -1.0, -3.0], np.float32)
    table = np.broadcast_to(logits, (1, 6, 6, 6))
    settings = {"temperature": 0.8, "top_k": 5, "top_p": 0.95, "min_p": 0.1}
    strategy = Sampling(filters=Filters(**settings), num_samples=4000)
    prompt = np.zeros((1, 1), np.int32)
    found = search(table, strategy, prompt, np.ones_like(prompt), 1, rng=KEY)
    frequency = np.bincount(np.asarray(found.sequences[0, :, 1]), minlength=6) / 4000
    expected = np.exp(filtered_log_probs(jnp.asarray(logits), **settings))
    assert (expected == 0).sum() == 3
    np.testing.assert_array_equal(frequency > 0, expected > 0)
    np.testing.assert_allclose(frequency, expected, atol=4 * np.sqrt(0.25 / 4000))


def test_scores_are_the_log_probabilities_of_the_draws():
    table = random_table(0, 5, 6)
    strategy = Sampling(
        filters=Filters(temperature=1.3, top_k=4), num_samples=8, eos_token_ids=(1,)
    )
    prompt = np.array([[2, 3]], np.int32)
    found = search(table, strategy, prompt, np.ones_like(prompt), 5, rng=KEY)
    for i in range(8):
        length = int(found.lengths[0, i])
        tokens = found.sequences[0, i].tolist()
        total = 0.0
        for t in range(length):
            row = jnp.asarray(table[(t + 1) % 5, tokens[t], tokens[t + 1]])
            total += filtered_log_probs(row, temperature=1.3, top_k=4)[tokens[t + 2]]
        np.testing.assert_allclose(found.scores[0, i], total, atol=1e-4)
        assert tokens[2 + length :] == [0] * (5 - length)
    assert len(set(found.lengths[0].tolist())) > 1


def test_a_row_draws_the_same_whatever_the_others_are():
    table = random_table(0, 5, 6)
    strategy = Sampling(num_samples=3)
    prompt = np.array([[2], [3], [4]], np.int32)
    found = search(table, strategy, prompt, np.ones_like(prompt), 6, rng=KEY)

    first = search(table, strategy, prompt[:1], np.ones((1, 1), np.int32), 6, rng=KEY)
    np.testing.assert_array_equal(found.sequences[0], first.sequences[0])

    other = np.array([[5], [3], [0]], np.int32)
    changed = search(table, strategy, other, np.ones_like(prompt), 6, rng=KEY)
    np.testing.assert_array_equal(found.sequences[1], changed.sequences[1])

    fewer = search(table, Sampling(num_samples=2), prompt, np.ones_like(prompt), 6, rng=KEY)
    np.testing.assert_array_equal(found.sequences[:, :2], fewer.sequences)


def test_the_key_decides():
    table = random_table(0, 5, 6, scale=0.5)
    prompt = np.array([[2], [2]], np.int32)
    mask = np.ones_like(prompt)
    strategy = Sampling(num_samples=2)
    once = search(table, strategy, prompt, mask, 8, rng=KEY)
    again = search(table, strategy, prompt, mask, 8, rng=KEY)
    other = search(table, strategy, prompt, mask, 8, rng=jax.random.key(8))
    np.testing.assert_array_equal(once.sequences, again.sequences)
    assert (np.asarray(once.sequences) != np.asarray(other.sequences)).any()
    # Rows and samples with equal prompts are drawn apart.
    assert len({tuple(row) for row in once.sequences.reshape(4, 9).tolist()}) == 4


def test_vmap_over_keys():
    table = random_table(0, 5, 6)
    prompt = np.array([[2]], np.int32)
    mask = np.ones_like(prompt)
    strategy = Sampling(num_samples=2)
    keys = jax.random.split(KEY, 3)
    together = jax.vmap(lambda key: search(table, strategy, prompt, mask, 4, rng=key))(keys)
    for i, key in enumerate(keys):
        alone = search(table, strategy, prompt, mask, 4, rng=key)
        np.testing.assert_array_equal(together.sequences[i], alone.sequences)
