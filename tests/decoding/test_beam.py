"""Beam search: by hand, against the textbook's, and under jax's transformations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flaxformers_edu.decoding import BeamSearch, Processors, gnmt
from flaxformers_edu.errors import InputError
from tests.decoding.tables import bigrams, random_table, rows, search
from tests.decoding.textbook import beam_search, table_log_probs

POSITIONS = 8


# Tokens: 0 = <s>, 1 = </s>, 2 = a, 3 = b. From <s>: a .6, b .4. From a: the end .3, a .35, b .35.
# From b: the end .9, a .05, b .05. Greedy is drawn to a; the likeliest sequence is "b </s>": .36.
GARDEN_PATH = bigrams(
    [
        [1e-30, 1e-30, 0.6, 0.4],
        [0.25, 0.25, 0.25, 0.25],
        [1e-30, 0.30, 0.35, 0.35],
        [1e-30, 0.90, 0.05, 0.05],
    ]
)


def test_garden_path_worked_out_by_hand():
    strategy = BeamSearch(
        num_beams=2,
        num_return_sequences=2,
        early_stopping="never",
        length_penalty=0.0,
        eos_token_ids=(1,),
    )
    start = jnp.zeros((1, 1), jnp.int32)
    found = search(GARDEN_PATH, strategy, start, jnp.ones_like(start), 3)
    # Step 1: a .6, b .4. Step 2: b</s> .36, aa .21, ab .21, a</s> .18: b</s> ends, it is among the
    # first two; a</s> is fourth and may not end. Step 3: ab</s> .189 is the best of all that end.
    (first, p_first), (second, p_second) = rows(found)
    assert first == [3, 1] and p_first == pytest.approx(np.log(0.36), abs=1e-5)
    assert second == [2, 3, 1] and p_second == pytest.approx(np.log(0.189), abs=1e-5)


def test_length_penalty_divides_and_the_end_counts():
    start = jnp.zeros((1, 1), jnp.int32)
    for penalty in (-1.0, 0.5, 1.0, 2.0):
        strategy = BeamSearch(
            num_beams=2,
            num_return_sequences=2,
            early_stopping="never",
            length_penalty=np.float32(penalty),
            eos_token_ids=(1,),
        )
        found = dict(
            (tuple(tokens), score)
            for tokens, score in rows(search(GARDEN_PATH, strategy, start, jnp.ones_like(start), 3))
        )
        assert found[(3, 1)] == pytest.approx(np.log(0.36) / 2**penalty, abs=1e-5)
        assert found[(2, 3, 1)] == pytest.approx(np.log(0.189) / 3**penalty, abs=1e-5)


def test_gnmt_score_worked_out_by_hand():
    strategy = BeamSearch(
        num_beams=2, early_stopping="never", length_penalty=0.6, eos_token_ids=(1,), scorer=gnmt
    )
    start = jnp.zeros((1, 1), jnp.int32)
    ((tokens, score),) = rows(search(GARDEN_PATH, strategy, start, jnp.ones_like(start), 3))
    assert tokens == [3, 1]
    assert score == pytest.approx(np.log(0.36) / (7 / 6) ** 0.6, abs=1e-5)


def test_early_stopping_true_stops_at_the_first_full_set():
    # The end comes second at every step; the first two hypotheses to finish are kept as they are,
    # although a later one is better. From any token: a .7, the end .2, b .1.
    table = bigrams([[1e-30, 0.2, 0.7, 0.1]] * 4)
    start = jnp.zeros((1, 1), jnp.int32)

    def run(early_stopping, length_penalty):
        strategy = BeamSearch(
            num_beams=2,
            num_return_sequences=2,
            early_stopping=early_stopping,
            length_penalty=length_penalty,
            eos_token_ids=(1,),
        )
        return rows(search(table, strategy, start, jnp.ones_like(start), 5))

    assert [tokens for tokens, _ in run(True, 1.0)] == [[2, 1], [1]]
    # With the mean, a a a a a (log .7 each) wins; "never" goes on until it is there.
    assert [tokens for tokens, _ in run("never", 1.0)][0] == [2, 2, 2, 2, 2]


def test_a_negative_penalty_does_not_stop_at_the_first_step():
    """Known from ports of beam search: no hypothesis is finished yet, and the search ends."""
    start = jnp.zeros((1, 1), jnp.int32)
    for early_stopping in (False, True, "never"):
        strategy = BeamSearch(
            num_beams=2, early_stopping=early_stopping, length_penalty=-1.0, eos_token_ids=(1,)
        )
        found = search(GARDEN_PATH, strategy, start, jnp.ones_like(start), 3)
        ((tokens, score),) = rows(found)
        assert tokens == [3, 1]
        assert score == pytest.approx(2 * np.log(0.36), abs=1e-5)


@pytest.mark.parametrize(
    ("eos", "pad", "fill"), [((1,), 0, 1), ((1,), 3, 3), ((1,), None, 1), ((1, 2), None, 1)]
)
def test_what_follows_the_end(eos, pad, fill):
    """A padding id of 0 counts as none: the first end-of-sequence token takes its place."""
    strategy = BeamSearch(
        num_beams=2, early_stopping="never", length_penalty=0.0, eos_token_ids=eos, pad_token_id=pad
    )
    start = jnp.zeros((1, 1), jnp.int32)
    table = bigrams([[1e-30, 0.9, 0.05, 0.05]] * 4)
    found = search(table, strategy, start, jnp.ones_like(start), 4)
    assert found.sequences[0, 0].tolist() == [0, 1, fill, fill, fill]
    assert found.lengths.tolist() == [[1]]


def test_too_small_a_vocabulary_is_refused():
    strategy = BeamSearch(num_beams=2, eos_token_ids=(0, 1, 2))
    start = jnp.zeros((1, 1), jnp.int32)
    with pytest.raises(InputError, match="vocab_size 3 is too small"):
        search(jnp.zeros((1, 3, 3, 3)), strategy, start, jnp.ones_like(start), 2)


# V, M, N, end-of-sequence tokens, rules in force. Few shapes, so that few programs are compiled;
# all other numbers are traced. At least N of the first V * (V - #eos) continuations are real.
SHAPES = [
    (3, 4, 2, (1,), False),
    (4, 5, 3, (0,), True),
    (5, 4, 4, (1, 3), True),
    (6, 5, 2, (), False),
    (6, 2, 4, (2,), False),
    (4, 3, 1, (1,), True),
]


@pytest.mark.parametrize("early_stopping", [False, True, "never"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**32 - 1),
    scale=st.sampled_from([0.3, 1.0, 3.0]),
    length_penalty=st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0]),
    repetition_penalty=st.sampled_from([0.7, 1.0, 1.5]),
    min_new_tokens=st.integers(0, 2),
    data=st.data(),
)
def test_equals_the_textbook(
    shape, early_stopping, seed, scale, length_penalty, repetition_penalty, min_new_tokens, data
):
    V, M, N, eos, ruled = shape
    table = random_table(seed, POSITIONS, V, scale)
    prompts = [
        data.draw(st.lists(st.integers(0, V - 1), min_size=1, max_size=3), label="prompt")
        for _ in range(2)
    ]
    rules = None
    processors = Processors()
    if ruled:
        forced_eos = eos[0] if N == 3 else None
        rules = {
            "repetition_penalty": repetition_penalty,
            "min_new_tokens": min_new_tokens,
            "forced_eos": forced_eos,
        }
        processors = Processors(
            repetition_penalty=np.float32(repetition_penalty),
            min_new_tokens=np.int32(min_new_tokens),
            eos_token_ids=eos,
            forced_eos_token_ids=() if forced_eos is None else (forced_eos,),
        )
    strategy = BeamSearch(
        processors=processors,
        num_beams=N,
        num_return_sequences=N,
        early_stopping=early_stopping,
        length_penalty=np.float32(length_penalty),
        eos_token_ids=eos,
    )
    padded = np.array([[0] * (3 - len(prompt)) + prompt for prompt in prompts], np.int32)
    mask = np.array([[0] * (3 - len(prompt)) + [1] * len(prompt) for prompt in prompts], np.int32)
    found = search(table, strategy, padded, mask, M)
    for b, prompt in enumerate(prompts):
        expected = beam_search(
            table_log_probs(table, prompt, max_new_tokens=M, eos=eos, rules=rules),
            num_beams=N,
            max_new_tokens=M,
            eos=eos,
            length_penalty=length_penalty,
            early_stopping=early_stopping,
        )
        assert expected
        for i, (score, tokens) in enumerate(expected):
            length = int(found.lengths[b, i])
            assert found.sequences[b, i, 3 : 3 + length].tolist() == tokens
            assert float(found.scores[b, i]) == pytest.approx(score, abs=1e-4)


def test_gnmt_equals_the_textbook():
    start = jnp.zeros((1, 1), jnp.int32)
    for seed in range(20):
        table = random_table(seed, POSITIONS, 5)
        strategy = BeamSearch(
            num_beams=3,
            num_return_sequences=3,
            length_penalty=np.float32(0.1 * seed),
            eos_token_ids=(1,),
            scorer=gnmt,
        )
        found = rows(search(table, strategy, start, jnp.ones_like(start), 5))
        expected = beam_search(
            table_log_probs(table, [0], max_new_tokens=5, eos=(1,)),
            num_beams=3,
            max_new_tokens=5,
            eos=(1,),
            length_penalty=0.1 * seed,
            early_stopping=False,
            scorer="gnmt",
        )
        assert [tokens for tokens, _ in found] == [tokens for _, tokens in expected]
        np.testing.assert_allclose([s for _, s in found], [s for s, _ in expected], atol=1e-4)


STRATEGY = BeamSearch(
    num_beams=3, num_return_sequences=2, length_penalty=1.0, eos_token_ids=(1,), pad_token_id=5
)


def test_batch_of_one_equals_batch_of_many():
    table = random_table(3, POSITIONS, 6)
    prompts = np.random.default_rng(0).integers(0, 6, (5, 2)).astype(np.int32)
    mask = np.ones_like(prompts)
    together = search(table, STRATEGY, prompts, mask, 5)
    for b in range(len(prompts)):
        alone = search(table, STRATEGY, prompts[b : b + 1], mask[b : b + 1], 5)
        np.testing.assert_array_equal(together.sequences[b], alone.sequences[0])
        np.testing.assert_array_equal(together.scores[b], alone.scores[0])


def test_vmap_over_models_equals_one_by_one():
    tables = np.stack([random_table(seed, POSITIONS, 6) for seed in range(4)])
    prompt = np.array([[2, 3], [4, 0]], np.int32)
    mask = np.ones_like(prompt)
    together = jax.vmap(lambda table: search(table, STRATEGY, prompt, mask, 5))(tables)
    for i, table in enumerate(tables):
        alone = search(table, STRATEGY, prompt, mask, 5)
        np.testing.assert_array_equal(together.sequences[i], alone.sequences)
        np.testing.assert_allclose(together.scores[i], alone.scores, atol=1e-6)


def test_vmap_over_length_penalties():
    table = random_table(3, POSITIONS, 6)
    prompt = np.array([[2]], np.int32)
    mask = np.ones_like(prompt)
    penalties = jnp.array([-1.0, 0.0, 1.0, 2.0])

    def score(penalty):
        return search(table, STRATEGY.replace(length_penalty=penalty), prompt, mask, 5).scores

    together = jax.vmap(score)(penalties)
    alone = jnp.stack([score(penalty) for penalty in penalties])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert len(np.unique(np.asarray(together[:, 0, 0]))) == 4


def test_bfloat16_logits_are_searched_in_float32():
    table = random_table(3, POSITIONS, 6).astype(jnp.bfloat16)
    prompt = np.array([[2, 3]], np.int32)
    mask = np.ones_like(prompt)
    half = search(table, STRATEGY, prompt, mask, 5)
    full = search(table.astype(np.float32), STRATEGY, prompt, mask, 5)
    assert half.scores.dtype == jnp.float32
    np.testing.assert_array_equal(half.sequences, full.sequences)
    np.testing.assert_allclose(half.scores, full.scores, atol=1e-6)


def test_the_score_is_differentiable_up_to_the_loop():
    """The searched sequence's score, computed again by teacher forcing, has a gradient."""
    table = jnp.asarray(random_table(3, POSITIONS, 6))
    prompt = np.array([[2]], np.int32)
    found = search(table, STRATEGY, prompt, np.ones_like(prompt), 5)
    tokens = np.asarray(found.sequences[0, 0, 1 : 1 + found.lengths[0, 0]])

    def rescored(table):
        total, before = 0.0, [0, 2]
        for t, token in enumerate(tokens):
            total += jax.nn.log_softmax(table[t % POSITIONS, before[-2], before[-1]])[token]
            before.append(int(token))
        return total / len(tokens)

    score, gradient = jax.value_and_grad(rescored)(table)
    assert float(score) == pytest.approx(float(found.scores[0, 0]), abs=1e-5)
    assert np.count_nonzero(np.abs(gradient).sum(axis=-1)) == len(tokens)
