"""Exhaustive search: against a recursion in Python, and as the oracle of beam search."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flaxformers_edu.decoding import BeamSearch, Exhaustive, Processors, gnmt
from flaxformers_edu.errors import InputError
from tests.decoding.tables import bigrams, random_table, rows, search
from tests.decoding.textbook import all_sequences, table_log_probs

POSITIONS = 6
PENALTIES = st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0])


def count_sequences(vocab_size, max_new_tokens, num_eos):
    """Strings that end at their first end-of-sequence token or at the maximum length."""
    going = vocab_size - num_eos
    ending_early = sum(going**t * num_eos for t in range(max_new_tokens - 1))
    return ending_early + going ** (max_new_tokens - 1) * vocab_size


def test_two_tokens_worked_out_by_hand():
    table = bigrams([[0.6, 0.4], [0.5, 0.5]])  # 1 ends; from 0: 0 with .6, 1 with .4
    start = jnp.zeros((1, 1), jnp.int32)
    strategy = Exhaustive(2, 2, length_penalty=0.0, num_return_sequences=4, eos_token_ids=(1,))
    found = search(table, strategy, start, jnp.ones_like(start), 2)
    expected = [([1], 0.4), ([0, 0], 0.36), ([0, 1], 0.24), ([1], 0.0)]
    assert [tokens for tokens, _ in rows(found)][:3] == [tokens for tokens, _ in expected][:3]
    np.testing.assert_allclose(jnp.exp(found.scores[0]), [p for _, p in expected], atol=1e-6)
    # The fourth place has no sequence: its score is -inf, probability 0.
    assert found.sequences[0, 0].tolist() == [0, 1, 1]


@pytest.mark.parametrize("shape", [(3, 4, (1,)), (4, 3, (0, 2)), (3, 3, ())], ids=str)
@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), length_penalty=PENALTIES)
def test_equals_a_recursion(shape, seed, length_penalty):
    V, M, eos = shape
    n = count_sequences(V, M, len(eos))
    table = random_table(seed, POSITIONS, V)
    prompt = np.array([[1, 2], [2, 0]], np.int32)
    strategy = Exhaustive(
        V,
        M,
        length_penalty=np.float32(length_penalty),
        num_return_sequences=n,
        eos_token_ids=eos,
    )
    found = search(table, strategy, prompt, np.ones_like(prompt), M)
    for b in range(2):
        log_probs = table_log_probs(table, prompt[b].tolist(), max_new_tokens=M, eos=eos)
        expected = all_sequences(
            log_probs, max_new_tokens=M, eos=eos, length_penalty=length_penalty
        )
        assert len(expected) == n
        scores = [score for score, _ in expected]
        np.testing.assert_allclose(found.scores[b], scores, atol=1e-4)
        for i, (_, tokens) in enumerate(expected):
            assert found.sequences[b, i, 2 : 2 + len(tokens)].tolist() == tokens


# With as many beams as there are sequences nothing is ever pruned.
@pytest.mark.parametrize("early_stopping", [False, "never"])
@pytest.mark.parametrize("shape", [(3, 3, (1,)), (3, 4, (1,)), (4, 3, (0,))], ids=str)
@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), length_penalty=PENALTIES)
def test_a_beam_as_wide_as_the_search_space(shape, early_stopping, seed, length_penalty):
    V, M, eos = shape
    n = count_sequences(V, M, len(eos))
    table = random_table(seed, POSITIONS, V)
    prompt = np.array([[2], [0]], np.int32)
    common = {
        "length_penalty": np.float32(length_penalty),
        "num_return_sequences": n,
        "eos_token_ids": eos,
        "pad_token_id": 2,
    }
    beam = BeamSearch(num_beams=n + 1, early_stopping=early_stopping, **common)
    found = search(table, beam, prompt, np.ones_like(prompt), M)
    best = search(table, Exhaustive(V, M, **common), prompt, np.ones_like(prompt), M)
    np.testing.assert_allclose(found.scores, best.scores, atol=1e-4)
    np.testing.assert_array_equal(found.sequences, best.sequences)
    np.testing.assert_array_equal(found.lengths, best.lengths)


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), alpha=st.sampled_from([0.0, 0.6, 1.0]))
def test_wide_beam_under_rules_and_the_gnmt_score(seed, alpha):
    V, M, eos = 3, 4, (1,)
    n = 8  # Sequences that end at the last place or have three tokens: enough after the rules.
    processors = Processors(
        repetition_penalty=np.float32(1.4), min_new_tokens=np.int32(2), eos_token_ids=eos
    )
    common = {
        "processors": processors,
        "length_penalty": np.float32(alpha),
        "num_return_sequences": n,
        "eos_token_ids": eos,
        "pad_token_id": 2,
        "scorer": gnmt,
    }
    table = random_table(seed, POSITIONS, V)
    prompt = np.array([[2, 2], [0, 1]], np.int32)
    mask = np.ones_like(prompt)
    found = search(
        table, BeamSearch(num_beams=40, early_stopping="never", **common), prompt, mask, M
    )
    best = search(table, Exhaustive(V, M, **common), prompt, mask, M)
    np.testing.assert_allclose(found.scores, best.scores, atol=1e-4)
    np.testing.assert_array_equal(found.sequences, best.sequences)
    assert int(best.lengths.min()) > 2


def test_no_narrow_beam_beats_it():
    prompt = np.array([[2]], np.int32)
    mask = np.ones_like(prompt)
    worse = 0
    for seed in range(30):
        table = random_table(seed, POSITIONS, 4, scale=0.7)
        best = search(table, Exhaustive(4, 4), prompt, mask, 4)
        beam = search(table, BeamSearch(num_beams=2), prompt, mask, 4)
        assert float(beam.scores[0, 0]) <= float(best.scores[0, 0]) + 1e-5
        worse += float(beam.scores[0, 0]) < float(best.scores[0, 0]) - 1e-5
    assert worse > 0, "a beam of 2 is not exact: these tables are too easy to tell"


def test_vmap_over_models():
    tables = np.stack([random_table(seed, POSITIONS, 3) for seed in range(3)])
    prompt = np.array([[2]], np.int32)
    mask = np.ones_like(prompt)
    strategy = Exhaustive(3, 3, eos_token_ids=(1,))
    together = jax.vmap(lambda table: search(table, strategy, prompt, mask, 3))(tables)
    for i, table in enumerate(tables):
        alone = search(table, strategy, prompt, mask, 3)
        np.testing.assert_array_equal(together.sequences[i], alone.sequences)


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="vocab_size 100 and max_new_tokens 4"):
        Exhaustive(100, 4)
    with pytest.raises(InputError, match="num_return_sequences 9"):
        Exhaustive(2, 3, num_return_sequences=9)
    start = jnp.zeros((1, 1), jnp.int32)
    with pytest.raises(InputError, match="max_new_tokens 3 must be the 2"):
        search(jnp.zeros((1, 3, 3, 3)), Exhaustive(3, 2), start, jnp.ones_like(start), 3)
    with pytest.raises(InputError, match="vocab_size 2 of the exhaustive search must be the 3"):
        search(jnp.zeros((1, 3, 3, 3)), Exhaustive(2, 2), start, jnp.ones_like(start), 2)
