"""Greedy search on tables worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxformers_edu.decoding import Greedy, Processors, decode
from tests.decoding.tables import bigrams, random_table, search
from tests.decoding.textbook import table_log_probs

# From 0: 2 with .6; from 2: 3 with .5; from 3: the end, 1, with .9.
CHAIN = bigrams([[0.1, 0.1, 0.6, 0.2], [0.25] * 4, [0.1, 0.2, 0.2, 0.5], [0.04, 0.9, 0.03, 0.03]])
PROMPT = np.array([[0], [3]], np.int32)
STRATEGY = Greedy(eos_token_ids=(1,), pad_token_id=0)


def test_follows_the_likeliest_token_and_pads_after_the_end():
    found = search(CHAIN, STRATEGY, PROMPT, np.ones_like(PROMPT), 5)
    assert found.sequences[:, 0].tolist() == [[0, 2, 3, 1, 0, 0], [3, 1, 0, 0, 0, 0]]
    assert found.lengths[:, 0].tolist() == [3, 1]
    np.testing.assert_allclose(jnp.exp(found.scores[:, 0]), [0.6 * 0.5 * 0.9, 0.9], rtol=1e-5)


@pytest.mark.parametrize(("max_new_tokens", "steps"), [(2, 2), (9, 3)])
def test_the_model_runs_no_longer_than_needed(max_new_tokens, steps):
    calls = []

    def step(tokens_BN, cache):
        jax.debug.callback(calls.append, tokens_BN)
        return CHAIN[0, 0, tokens_BN], cache

    found = decode(step, STRATEGY, (), jnp.asarray(PROMPT), max_new_tokens=max_new_tokens)
    jax.block_until_ready(found.sequences)
    jax.effects_barrier()
    assert [tokens[:, 0].tolist() for tokens in calls] == [[0, 3], [2, 1], [3, 0]][:steps]


def test_lowest_index_among_equals():
    found = search(jnp.zeros((1, 4, 4, 4)), STRATEGY, PROMPT, np.ones_like(PROMPT), 2)
    assert found.sequences[:, 0, 1:].tolist() == [[0, 0], [0, 0]]


def test_rules_are_obeyed():
    table = random_table(0, 5, 6)
    prompt = np.array([[0, 2, 3], [0, 0, 4]], np.int32)
    mask = np.array([[0, 1, 1], [0, 0, 1]], np.int32)
    strategy = Greedy(
        processors=Processors(
            min_new_tokens=np.int32(4), eos_token_ids=(1,), forced_eos_token_ids=(1,)
        ),
        eos_token_ids=(1,),
    )
    found = search(table, strategy, prompt, mask, 6)
    for b in range(2):
        rules = {"repetition_penalty": 1.0, "min_new_tokens": 4, "forced_eos": 1}
        log_probs = table_log_probs(
            table, prompt[b][mask[b] == 1].tolist(), max_new_tokens=6, eos=(1,), rules=rules
        )
        tokens = []
        while len(tokens) < 6 and 1 not in tokens:
            tokens.append(int(np.argmax(log_probs(tokens))))
        assert found.sequences[b, 0, 3 : 3 + len(tokens)].tolist() == tokens
        assert int(found.lengths[b, 0]) == len(tokens) >= 5
        assert tokens[-1] == 1


def test_repetition_penalty_counts_the_prompt_but_not_its_padding():
    # 0 is always likeliest by a little, then 2. A penalty on what was seen takes 0's place.
    table = jnp.broadcast_to(jnp.array([2.0, 0.0, 1.8, 0.1]), (1, 4, 4, 4))
    strategy = Greedy(processors=Processors(repetition_penalty=np.float32(4.0)))
    prompt = np.array([[0, 3], [0, 3]], np.int32)
    mask = np.array([[1, 1], [0, 1]], np.int32)
    found = search(table, strategy, prompt, mask, 1)
    assert found.sequences[:, 0, 2].tolist() == [2, 0]


def test_what_no_rule_allows_is_impossible():
    """Four tokens, none of which may come twice: the fifth cannot be."""
    strategy = Greedy(processors=Processors(no_repeat_ngram_size=1))
    prompt = np.array([[0]], np.int32)
    scores = [search(CHAIN, strategy, prompt, prompt + 1, n).scores[0, 0] for n in (3, 4)]
    assert np.isfinite(scores[0])
    assert scores[1] == -np.inf


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_low_precision_logits(dtype):
    table = random_table(1, 5, 6).astype(dtype)
    low = search(table, STRATEGY, PROMPT, np.ones_like(PROMPT), 4)
    full = search(table.astype(np.float32), STRATEGY, PROMPT, np.ones_like(PROMPT), 4)
    assert low.scores.dtype == jnp.float32
    np.testing.assert_array_equal(low.sequences, full.sequences)


def test_batch_and_vmap():
    tables = np.stack([random_table(seed, 5, 6) for seed in range(3)])
    prompt = np.array([[2], [3], [4]], np.int32)
    mask = np.ones_like(prompt)
    together = jax.vmap(lambda table: search(table, STRATEGY, prompt, mask, 4))(tables)
    for i, table in enumerate(tables):
        for b in range(3):
            alone = search(table, STRATEGY, prompt[b : b + 1], mask[b : b + 1], 4)
            np.testing.assert_array_equal(together.sequences[i, b], alone.sequences[0])
